import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcWebTransport } from "@connectrpc/connect-node";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { type ConnectOptions, type Connection, connect } from "../src/core.js";

/** A server of gRPC-Web on a free port, which can be cut off and started again on the same port. */
export class TestServer {
  private server: Server | undefined;
  private port = 0;

  constructor(private readonly routes: (router: ConnectRouter) => void) {}

  async start(): Promise<this> {
    const server = createServer(connectNodeAdapter({ routes: this.routes }));
    this.server = server;
    await new Promise<void>((done) => server.listen(this.port, "127.0.0.1", done));
    this.port = (server.address() as AddressInfo).port;
    return this;
  }

  /** Ends at once, with whatever is open. */
  async stop(): Promise<void> {
    const { server } = this;
    this.server = undefined;
    if (!server) return;
    const ended = new Promise<void>((done) => server.close(() => done()));
    server.closeAllConnections();
    await ended;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  connect(options: ConnectOptions = {}): Connection {
    const baseUrl = this.url;
    return connect({
      transport: (interceptors) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1", interceptors }),
      ...options,
    });
  }
}

/** An error as the server sends it. */
export function refusal(code: Code, reason: string, more: { violations?: [string, string][]; retryAfter?: number } = {}): ConnectError {
  const error = new ConnectError("as the test wants it", code, { "x-request-id": "r-1" });
  const info = new BinaryWriter();
  info.tag(1, WireType.LengthDelimited).string(reason).tag(2, WireType.LengthDelimited).string("freehold.dev");
  info.tag(3, WireType.LengthDelimited).fork();
  info.tag(1, WireType.LengthDelimited).string("limit").tag(2, WireType.LengthDelimited).string("1").join();
  add(error, "google.rpc.ErrorInfo", info.finish());
  const bad = new BinaryWriter();
  for (const [field, description] of more.violations ?? []) {
    bad.tag(1, WireType.LengthDelimited).fork();
    bad.tag(1, WireType.LengthDelimited).string(field).tag(2, WireType.LengthDelimited).string(description).join();
  }
  if (more.violations) add(error, "google.rpc.BadRequest", bad.finish());
  if (more.retryAfter !== undefined) {
    const retry = new BinaryWriter().tag(1, WireType.LengthDelimited).fork();
    retry.tag(1, WireType.Varint).int64(Math.floor(more.retryAfter / 1000));
    retry.tag(2, WireType.Varint).int32((more.retryAfter % 1000) * 1e6).join();
    add(error, "google.rpc.RetryInfo", retry.finish());
  }
  return error;
}

/** Adds a detail as it is in `google.rpc.Status`: packed. */
function add(error: ConnectError, type: string, value: Uint8Array): void {
  (error.details as unknown[]).push({ type, value });
}

/** A promise that a test fulfils. */
export function gate(): { open: () => void; opened: Promise<void> } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

/** A token of the shape that the server makes, signed by nobody. */
export function jwt(principal: string, issued: number, expires: number): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "EdDSA" })}.${part({ sub: principal, iat: issued, exp: expires })}.x`;
}
