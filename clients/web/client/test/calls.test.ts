import { Code } from "@connectrpc/connect";
import { afterEach, expect, test, vi } from "vitest";

import { ExchangedTokens, FreeholdError, readToken } from "../src/core.js";
import { Freehold } from "../src/index.js";
import { TenantService } from "../src/gen/freehold/tenants/v1/tenant_service_pb.js";
import { TokenService } from "../src/gen/freehold/iam/v1/token_service_pb.js";
import { TestServer, jwt, refusal } from "./support.js";

let server: TestServer | undefined;
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

test("an error has its reason, facts, fields and the id of its call", async () => {
  server = await new TestServer((router) =>
    router.service(TenantService, {
      createTenant() {
        throw refusal(Code.InvalidArgument, "FIELD_INVALID", { violations: [["tenant_id", "too short"], ["tenant.labels", "no"]] });
      },
    }),
  ).start();
  const failed = await server.connect().client(TenantService).createTenant({ tenantId: "" }).catch((error: unknown) => error);
  expect(failed).toBeInstanceOf(FreeholdError);
  expect(failed).toMatchObject({ code: Code.InvalidArgument, reason: "FIELD_INVALID", facts: { limit: "1" }, requestId: "r-1" });
  expect((failed as FreeholdError).violations).toEqual([
    { field: "tenant_id", description: "too short" },
    { field: "tenant.labels", description: "no" },
  ]);
});

test("reads and protected writes are repeated with one request id, and only while nobody has answered", async () => {
  const ids: string[] = [];
  let gets = 0;
  server = await new TestServer((router) =>
    router.service(TenantService, {
      createTenant({ requestId }) {
        ids.push(requestId);
        if (ids.length < 3) throw refusal(Code.Unavailable, "OVERLOADED", { retryAfter: 10 });
        return {};
      },
      getTenant() {
        gets++;
        throw refusal(Code.NotFound, "RESOURCE_NOT_FOUND");
      },
      listTenants() {
        throw refusal(Code.Unavailable, "OVERLOADED", { retryAfter: 60_000 });
      },
    }),
  ).start();
  const tenants = server.connect().client(TenantService);
  await tenants.createTenant({});
  expect(ids).toHaveLength(3);
  expect(new Set(ids).size).toBe(1);
  expect(ids[0]).toMatch(/^[0-9a-f-]{36}$/);
  await tenants.createTenant({ requestId: "00000000-0000-4000-8000-000000000001" });
  expect(ids[3]).toBe("00000000-0000-4000-8000-000000000001");

  await expect(tenants.getTenant({})).rejects.toMatchObject({ reason: "RESOURCE_NOT_FOUND" });
  expect(gets).toBe(1);
  // Nobody waits a minute for a list: whoever asked decides.
  await expect(tenants.listTenants({})).rejects.toMatchObject({ reason: "OVERLOADED", retryAfter: 60_000 });
});

test("nobody there is UNAVAILABLE, and says what to do", async () => {
  server = await new TestServer(() => {}).start();
  const url = server.url;
  await server.stop();
  const failed = await new Freehold({ baseUrl: url }).tenants.listTenants({}).catch((error: unknown) => error);
  expect(failed).toMatchObject({ code: Code.Unavailable });
  expect(String(failed)).toContain("cannot be reached");
});

test("an API key becomes a token, which is replaced once when the server says that it has expired", async () => {
  const given: string[] = [];
  const sent: (string | null)[] = [];
  server = await new TestServer((router) => {
    router.service(TokenService, {
      exchangeToken({ apiKey }, context) {
        expect(apiKey).toBe("fh_secret");
        expect(context.requestHeader.get("authorization")).toBeNull();
        given.push(jwt("tenants/acme/users/ada", 100, 1000 + given.length));
        return { token: given.at(-1) ?? "" };
      },
    });
    router.service(TenantService, {
      listTenants(_, context) {
        sent.push(context.requestHeader.get("authorization"));
        if (sent.length === 2 || sent.length > 3) throw refusal(Code.Unauthenticated, "TOKEN_EXPIRED");
        return {};
      },
    });
  }).start();
  const told: string[] = [];
  const tenants = server.connect({ apiKey: "fh_secret", onToken: (token) => told.push(token) }).client(TenantService);

  await Promise.all([tenants.listTenants({})]);
  expect(given).toHaveLength(1);
  await tenants.listTenants({});
  expect(sent).toEqual([given[0], given[0], given[1]].map((token) => `Bearer ${token}`));
  await expect(tenants.listTenants({})).rejects.toMatchObject({ reason: "TOKEN_EXPIRED" });
  expect(sent).toHaveLength(5);
  expect(told).toEqual(given);
});

test("a token is renewed before its end by its own life, whatever the clock says, and shared by calls", async () => {
  let now = 5_000_000;
  const exchange = vi.fn(async () => ({ token: jwt("a", 0, 900), expires: 0 }));
  const tokens = new ExchangedTokens(exchange, () => {}, () => now);
  await Promise.all([tokens.get(), tokens.get(), tokens.get()]);
  expect(exchange).toHaveBeenCalledTimes(1);
  now += 719_000;
  await tokens.get();
  expect(exchange).toHaveBeenCalledTimes(1);
  now += 2_000;
  await tokens.get();
  expect(exchange).toHaveBeenCalledTimes(2);

  // A server that cannot be reached does no harm while the old one is good.
  now += 721_000;
  exchange.mockRejectedValueOnce(new TypeError("fetch failed"));
  await tokens.get();
  const asked = exchange.mock.calls.length;
  await tokens.get();
  expect(exchange).toHaveBeenCalledTimes(asked);
  now += 200_000;
  exchange.mockRejectedValueOnce(new TypeError("fetch failed"));
  await expect(tokens.get()).rejects.toMatchObject({ code: Code.Unavailable });
});

test("a token of an earlier exchange is used until a fifth of its life is left, and a server that refuses it is believed", async () => {
  let now = 1_000_000;
  const first = jwt("a", 1_000, 1_900);
  const exchange = vi.fn(async () => ({ token: jwt("a", 1_720, 2_620), expires: 0 }));
  const tokens = new ExchangedTokens(exchange, () => {}, () => now, first);
  expect(await tokens.get()).toBe(first);
  now = 1_719_000;
  expect(await tokens.get()).toBe(first);
  now = 1_721_000;
  expect(await tokens.get()).not.toBe(first);
  expect(exchange).toHaveBeenCalledTimes(1);

  const other = new ExchangedTokens(exchange, () => {}, () => 0, first);
  expect(await other.get()).toBe(first);
  await other.expired(first);
  expect(await other.get()).not.toBe(first);
  expect(await new ExchangedTokens(exchange, () => {}, () => 0, "no token").get()).not.toBe("no token");
});

test("a token can be read, and nothing else is one", () => {
  expect(readToken(jwt("tenants/acme/users/ädä", 1, 2))).toEqual({ principal: "tenants/acme/users/ädä", issued: 1, expires: 2 });
  for (const bad of ["", "a.b.c", "x", `x.${btoa("[]")}.x`]) expect(readToken(bad)).toBeUndefined();
});
