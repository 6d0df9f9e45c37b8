import { Code } from "@connectrpc/connect";
import { afterEach, expect, test, vi } from "vitest";

import type { WatchItem } from "../src/core.js";
import { EventService, type WatchEventsRequest } from "../src/gen/freehold/events/v1/event_service_pb.js";
import { TestServer, gate, refusal } from "./support.js";

let server: TestServer | undefined;
afterEach(async () => {
  vi.useRealTimers();
  await server?.stop();
  server = undefined;
});

const bookmark = (resumeToken: string) => ({ events: [], resumeToken });
const event = (uid: string, resumeToken: string) => ({ events: [{ uid, kind: "run.moved", resource: `runs/${uid}` }], resumeToken });
const said = (item: WatchItem) => (item.type === "event" ? item.event.uid : `resync:${item.why}`);
const from = ({ start }: WatchEventsRequest) => (start.case === "resumeToken" ? start.value : start.case);

/** A server whose streams say what the test scripts, one script for each time that it is asked. */
async function serving(scripts: ((request: WatchEventsRequest, signal: AbortSignal) => AsyncIterable<object>)[]) {
  const asked: WatchEventsRequest[] = [];
  server = await new TestServer((router) =>
    router.service(EventService, {
      async *watchEvents(request, context) {
        asked.push(request);
        const script = scripts[asked.length - 1];
        if (script) yield* script(request, context.signal);
        else await new Promise((ended) => context.signal.addEventListener("abort", ended));
      },
    }),
  ).start();
  return { asked, server };
}

async function take(items: AsyncGenerator<WatchItem>, count: number): Promise<string[]> {
  const taken: string[] = [];
  while (taken.length < count) {
    const { value, done } = await items.next();
    if (done) break;
    taken.push(said(value));
  }
  return taken;
}

test("a watch begins with a mark, and goes on with the last token after ends, broken streams and restarts", async () => {
  const broken = gate();
  const { asked, server } = await serving([
    async function* () {
      yield bookmark("t0");
      yield event("a", "t1");
      // Ends without an error, as in a drain.
    },
    async function* () {
      // What the server cannot know to have arrived comes again.
      yield event("a", "t1");
      yield event("b", "t2");
      broken.open();
      await new Promise(() => {});
    },
    async function* () {
      throw refusal(Code.ResourceExhausted, "WATCH_SLOW_CONSUMER");
    },
    async function* () {
      yield event("c", "t3");
      yield { events: [{ uid: "d" }, { uid: "e" }], resumeToken: "t5" };
    },
  ]);
  const states: string[] = [];
  const items = server.connect().watch({ parent: "tenants/acme", kinds: ["run.*"], onState: (state) => states.push(state) });

  expect(await take(items, 3)).toEqual(["resync:begun", "a", "b"]);
  await broken.opened;
  await server.stop();
  const next = items.next();
  await server.start();
  expect(said((await next).value as WatchItem)).toBe("c");
  const [d, e] = [await items.next(), await items.next()];
  // The token of a batch stands for all of it.
  expect([d.value, e.value].map((item) => item && [said(item), item.resumeToken])).toEqual([
    ["d", "t3"],
    ["e", "t5"],
  ]);
  await items.return();

  expect(asked.map(from)).toEqual([undefined, "t1", "t2", "t2"]);
  expect(asked.every((request) => request.parent === "tenants/acme" && request.kinds[0] === "run.*")).toBe(true);
  expect(states.filter((state, index) => state !== states[index - 1])).toEqual(["open", "lost", "open", "lost", "open"]);
});

test("a token that is too old makes a mark, and the watch goes on from now", async () => {
  const { asked, server } = await serving([
    async function* () {
      throw refusal(Code.OutOfRange, "RESUME_TOKEN_EXPIRED");
    },
    async function* () {
      yield bookmark("t9");
      yield event("z", "t10");
    },
  ]);
  const items = server.connect().watch({ resumeToken: "old" });
  expect(await take(items, 2)).toEqual(["resync:expired", "z"]);
  await items.return();
  expect(asked.map(from)).toEqual(["old", undefined]);
});

test("what another try cannot mend is thrown", async () => {
  for (const code of [Code.Unimplemented, Code.PermissionDenied, Code.NotFound, Code.InvalidArgument]) {
    const { asked, server } = await serving([
      async function* () {
        throw refusal(code, "X");
      },
    ]);
    await expect(server.connect().watch().next()).rejects.toMatchObject({ code, reason: "X" });
    expect(asked).toHaveLength(1);
    await server.stop();
  }
});

test("a token that expires while the stream is open is replaced, and where it cannot be the watch ends", async () => {
  const { asked, server } = await serving([
    async function* () {
      yield event("a", "t1");
      throw refusal(Code.Unauthenticated, "TOKEN_EXPIRED");
    },
    async function* () {
      throw refusal(Code.Unauthenticated, "TOKEN_EXPIRED");
    },
    async function* () {
      yield event("b", "t2");
      throw refusal(Code.Unauthenticated, "TOKEN_EXPIRED");
    },
  ]);
  const given = ["one", "two", "three"];
  const stale: string[] = [];
  const tokens = {
    get: async () => given[0],
    expired: async (token: string) => {
      stale.push(token);
      given.shift();
      return given.length > 0;
    },
  };
  const items = server.connect({ tokens }).watch({ resumeToken: "t0" });
  expect(await take(items, 2)).toEqual(["a", "b"]);
  await expect(items.next()).rejects.toMatchObject({ code: Code.Unauthenticated, reason: "TOKEN_EXPIRED" });
  expect(stale).toEqual(["one", "two", "three"]);
  expect(asked.map(from)).toEqual(["t0", "t1", "t1"]);
});

test("a watch that is called off ends quietly", async () => {
  const { server } = await serving([
    async function* (_, signal) {
      yield bookmark("t0");
      await new Promise((ended) => signal.addEventListener("abort", ended));
    },
  ]);
  const stop = new AbortController();
  const items = server.connect().watch({ signal: stop.signal });
  expect(await take(items, 1)).toEqual(["resync:begun"]);
  const next = items.next();
  stop.abort();
  expect((await next).done).toBe(true);
});

test("after an hour of sleep nothing was heard, so the stream is opened again and nothing is lost", async () => {
  const { asked, server } = await serving([
    async function* (_, signal) {
      yield event("before", "t1");
      // The connection is dead, and neither side has been told.
      await new Promise((ended) => signal.addEventListener("abort", ended));
    },
    async function* () {
      yield event("meanwhile", "t2");
    },
  ]);
  const items = server.connect().watch({ resumeToken: "t0", silence: 45_000 });
  vi.useFakeTimers({ toFake: ["Date", "setInterval", "clearInterval"] });
  expect(await take(items, 1)).toEqual(["before"]);
  const next = items.next();
  // A machine that sleeps runs no timers; its clock goes on, and the first look afterwards sees that.
  vi.setSystemTime(Date.now() + 3_600_000);
  vi.advanceTimersByTime(5_000);
  expect(said((await next).value as WatchItem)).toBe("meanwhile");
  await items.return();
  expect(asked.map(from)).toEqual(["t0", "t1"]);
});

test("bookmarks keep a quiet stream open", async () => {
  const more = gate();
  const { asked, server } = await serving([
    async function* () {
      yield bookmark("t1");
      await more.opened;
      yield bookmark("t2");
      yield event("late", "t3");
    },
  ]);
  const items = server.connect().watch({ resumeToken: "t0" });
  vi.useFakeTimers({ toFake: ["Date", "setInterval", "clearInterval"] });
  const next = items.next();
  await vi.waitFor(() => expect(asked).toHaveLength(1));
  vi.advanceTimersByTime(44_000);
  more.open();
  expect(said((await next).value as WatchItem)).toBe("late");
  await items.return();
  expect(asked).toHaveLength(1);
});
