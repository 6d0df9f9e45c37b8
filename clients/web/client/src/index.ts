/** The typed client of Freehold; the messages of the contract are in `@freehold/client/gen/freehold/…_pb`. */
export * from "./core.js";
export { Freehold } from "./freehold.js";
