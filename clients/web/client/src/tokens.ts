import { FreeholdError } from "./errors.js";

/** Where calls get the token that says who makes them. */
export interface TokenSource {
  /** The token to send; none for calls without a caller. */
  get(): Promise<string | undefined>;
  /** Told that the server says this token has expired. Answers whether `get` will give another one. */
  expired(token: string): Promise<boolean>;
}

/** A token that an API key or a sign-in was exchanged for. */
export interface Exchanged {
  readonly token: string;
  /** When it ends, by the server's clock, in milliseconds since 1970. */
  readonly expires: number;
}

/** How long after a renewal that failed the next one is tried, in milliseconds. */
const PAUSE = 15_000;

/** One token, as it was given. It cannot be renewed. */
export function fixedToken(token: string): TokenSource {
  return { get: async () => token, expired: async () => false };
}

/**
 * Tokens for an API key or a sign-in. One is taken when it is first needed and replaced when a fifth of its life is left, or when the server
 * refuses it; calls that need one at the same time share one exchange.
 */
export class ExchangedTokens implements TokenSource {
  private current: { token: string; renew: number; end: number } | undefined;
  private exchanging: Promise<string> | undefined;

  /**
   * @param exchange makes a call of `ExchangeToken`
   * @param changed is told every new token
   * @param given a token to begin with, of an exchange that was made before
   */
  constructor(
    private readonly exchange: () => Promise<Exchanged>,
    private readonly changed: (token: string) => void = () => {},
    private readonly now: () => number = Date.now,
    given = "",
  ) {
    const [claims, life] = [readToken(given), lifetime(given)];
    if (!claims || life === undefined) return;
    // By this side's clock, since nobody has said how old it is. If that is wrong, the server's refusal renews it.
    const end = claims.expires * 1000;
    this.current = { token: given, renew: end - life * 0.2, end };
  }

  async get(): Promise<string> {
    const { current } = this;
    if (!current) return this.renew();
    if (this.now() < current.renew) return current.token;
    try {
      return await this.renew();
    } catch (thrown) {
      // What cannot be renewed now is good for some time yet.
      const error = FreeholdError.from(thrown);
      if (error.isUnauthenticated || this.now() >= current.end) throw error;
      // Whoever is busy or down is not asked again before every call.
      current.renew = this.now() + PAUSE;
      return current.token;
    }
  }

  async expired(token: string): Promise<boolean> {
    if (this.current?.token === token) this.current = undefined;
    return true;
  }

  private renew(): Promise<string> {
    this.exchanging ??= this.exchange()
      .then(({ token, expires }) => {
        const now = this.now();
        const life = lifetime(token) ?? Math.max(expires - now, 0);
        this.current = { token, renew: now + life * 0.8, end: now + life };
        this.changed(token);
        return token;
      })
      .finally(() => {
        this.exchanging = undefined;
      });
    return this.exchanging;
  }
}

/** What a token says of itself, unproven: good for what a person is shown and for timers, for nothing else. */
export interface TokenClaims {
  /** Whom it stands for, for example `tenants/acme/users/ada`. */
  readonly principal: string;
  /** When it was made, in seconds since 1970. */
  readonly issued: number;
  /** When it ends, in seconds since 1970. */
  readonly expires: number;
}

/** Reads a token; none when it is not one. */
export function readToken(token: string): TokenClaims | undefined {
  try {
    const body = token.split(".")[1] ?? "";
    const bytes = Uint8Array.from(atob(body.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
    const { sub, iat, exp } = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
    if (typeof sub !== "string" || typeof iat !== "number" || typeof exp !== "number") return undefined;
    return { principal: sub, issued: iat, expires: exp };
  } catch {
    return undefined;
  }
}

/** How long a token lives, in milliseconds. By the token alone, so that a wrong clock on this side does no harm. */
function lifetime(token: string): number | undefined {
  const claims = readToken(token);
  return claims && claims.expires > claims.issued ? (claims.expires - claims.issued) * 1000 : undefined;
}
