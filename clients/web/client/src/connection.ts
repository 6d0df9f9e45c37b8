import type { DescService } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type Client, type Interceptor, type Transport, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { TokenService } from "./gen/freehold/iam/v1/token_service_pb.js";
import { authorization, errors, requestIds, retries, tenantHeader } from "./interceptors.js";
import { ExchangedTokens, type TokenSource, fixedToken } from "./tokens.js";
import { type WatchItem, type WatchOptions, watch } from "./watch.js";

/** How to reach an installation, and as whom. */
export interface ConnectOptions {
  /** Address of the listener `web`, for example `https://freehold.example:7444`. A page that this listener serves needs none. */
  baseUrl?: string;
  /** The secret of an API key. It is exchanged for short tokens, which are renewed in time. */
  apiKey?: string;
  /** Instead: a token. It cannot be renewed. */
  token?: string;
  /** Instead: where tokens come from. */
  tokens?: TokenSource;
  /** Told every token that the API key is exchanged for. */
  onToken?: (token: string) => void;
  /** Tenant that a caller of the installation acts in where a request names none: its id. */
  tenant?: string;
  /** How long a call may take that says nothing else, in milliseconds; 15 s unless it is set. Streams may take as long as they want. */
  timeout?: number;
  /** Instead of the browser's `fetch`: for example `createGrpcWebTransport` of `@connectrpc/connect-node`, with these interceptors. */
  transport?: (interceptors: Interceptor[]) => Transport;
}

/** A way to an installation. It holds no connection by itself, so there is nothing to close. */
export interface Connection {
  /** What clients of connect-es are made with. */
  readonly transport: Transport;
  /** A client of one service. */
  client<T extends DescService>(service: T): Client<T>;
  /** What happens, in order; see {@link watch}. */
  watch(options?: WatchOptions): AsyncGenerator<WatchItem, void, undefined>;
}

/** Makes a connection. Nothing is sent before the first call. */
export function connect(options: ConnectOptions = {}): Connection {
  const { apiKey } = options;
  let tokens: TokenSource;
  if (options.tokens) tokens = options.tokens;
  else if (apiKey !== undefined) tokens = new ExchangedTokens(() => exchange(apiKey), options.onToken);
  else if (options.token !== undefined) tokens = fixedToken(options.token);
  else tokens = { get: async () => undefined, expired: async () => false };

  const exchange = async (secret: string) => {
    const { token, expireTime } = await client(TokenService).exchangeToken({ apiKey: secret });
    return { token, expires: expireTime ? timestampMs(expireTime) : 0 };
  };
  // The first is the outermost: a repeat proves itself anew, and every layer sees errors that it can read.
  const interceptors = [requestIds, retries, authorization(tokens), errors];
  if (options.tenant) interceptors.push(tenantHeader(options.tenant));
  const make = options.transport ?? ((interceptors) => createGrpcWebTransport({ baseUrl: options.baseUrl ?? "/", interceptors }));
  const transport = limited(make(interceptors), options.timeout ?? 15_000);
  const client = <T extends DescService>(service: T) => createClient(service, transport);
  return { transport, client, watch: (wanted) => watch(transport, wanted) };
}

/** Ends calls that take too long, and leaves streams alone. */
function limited(transport: Transport, timeout: number): Transport {
  return {
    unary: (method, signal, timeoutMs, ...rest) => transport.unary(method, signal, timeoutMs ?? timeout, ...rest),
    stream: (...call) => transport.stream(...call),
  };
}
