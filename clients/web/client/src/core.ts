/** What every program needs; clients of services are made with `connection.client(Service)`, so that only those used are loaded. */
export { type ConnectOptions, type Connection, connect } from "./connection.js";
export { FreeholdError, type Violation } from "./errors.js";
export { type FollowOptions, type Following, type StreamState, follow } from "./follow.js";
export { type Exchanged, ExchangedTokens, type TokenClaims, type TokenSource, fixedToken, readToken } from "./tokens.js";
export { type WatchItem, type WatchOptions, watch } from "./watch.js";
