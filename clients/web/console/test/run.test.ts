import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { LogLineSchema } from "@freehold/client/gen/freehold/deployments/v1/log_pb";
import { RunKind, RunOutcome, RunPhase, RunSchema, StepState } from "@freehold/client/gen/freehold/deployments/v1/run_pb";
import { expect, test } from "vitest";

import { duration, relative } from "../src/lib/format.js";
import { LogLines } from "../src/lib/loglines.js";
import { parts, pathOf, shortName } from "../src/lib/names.js";
import { sentence, stages, verdict } from "../src/lib/phases.js";

const at = timestampFromMs;
const run = (more: object) => create(RunSchema, { kind: RunKind.APPLY, createTime: at(1_000), ...more });
const states = (more: object, planned?: number) => stages(run(more), planned).map((stage) => stage.state);

test("the line of phases says how far a run is", () => {
  expect(states({ phase: RunPhase.PLANNING })).toEqual(["now", "next", "next", "next", "next"]);
  expect(states({ phase: RunPhase.QUEUED, waitingOn: {} })).toEqual(["waits", "next", "next", "next", "next"]);
  expect(states({ phase: RunPhase.AWAITING_APPROVAL, waitingOn: {} }, 2_000)).toEqual(["done", "done", "waits", "next", "next"]);
  expect(states({ phase: RunPhase.CHECKING, kind: RunKind.PLAN }, 2_000)).toEqual(["done", "now", "skipped", "skipped", "skipped"]);
});

test("an end says where a run came to", () => {
  const done = (outcome: RunOutcome, more: object = {}) => ({ phase: RunPhase.DONE, outcome, endTime: at(9_000), ...more });
  const steps = [{ startTime: at(4_000), endTime: at(5_000), state: StepState.DONE }];
  expect(states(done(RunOutcome.SUCCEEDED, { steps }), 2_000)).toEqual(["done", "done", "done", "done", "done"]);
  expect(states(done(RunOutcome.NO_CHANGES), 2_000)).toEqual(["done", "done", "skipped", "skipped", "skipped"]);
  expect(states(done(RunOutcome.FAILED))).toEqual(["failed", "skipped", "skipped", "skipped", "skipped"]);
  expect(states(done(RunOutcome.QUOTA_BLOCKED), 2_000)).toEqual(["done", "failed", "skipped", "skipped", "skipped"]);
  expect(states(done(RunOutcome.REJECTED, { approvals: [{ createTime: at(3_000) }] }), 2_000)).toEqual(["done", "done", "failed", "skipped", "skipped"]);
  expect(states(done(RunOutcome.FAILED, { steps }), 2_000)).toEqual(["done", "done", "done", "failed", "skipped"]);
});

test("phases have durations as far as the run tells them", () => {
  const whole = run({
    phase: RunPhase.DONE,
    outcome: RunOutcome.SUCCEEDED,
    approvals: [{ createTime: at(3_000) }],
    steps: [{ startTime: at(4_000), endTime: at(6_000) }, { startTime: at(5_000), endTime: at(7_000) }],
    endTime: at(9_000),
  });
  const times = stages(whole, 2_000).map(({ from, to }) => (from !== undefined && to !== undefined ? to - from : undefined));
  expect(times).toEqual([1_000, undefined, 1_000, 3_000, 2_000]);
});

test("a run is said in a word and a sentence", () => {
  expect(verdict(run({ phase: RunPhase.AWAITING_APPROVAL, approvalRequired: true }))).toEqual({ word: "awaiting approval", tone: "wait" });
  expect(verdict(run({ phase: RunPhase.DONE, outcome: RunOutcome.LOST })).tone).toBe("bad");
  expect(verdict(run({ phase: RunPhase.DONE, outcome: RunOutcome.SUPERSEDED })).tone).toBe("idle");
  expect(sentence(run({ kind: RunKind.ROLLBACK, targetRevision: 3n }), "web")).toBe("Roll back web to revision 3");
  expect(sentence(run({ kind: RunKind.DRIFT }))).toBe("Look for drift");
});

test("a hundred thousand lines cost a window of some", () => {
  const log = new LogLines();
  const line = (text: string, address = "") => create(LogLineSchema, { text, address });
  log.append(Array.from({ length: 100_000 }, (_, index) => line(`line ${index}`)));
  const middle = log.window(50_000, 24);
  expect([middle.first, middle.end, middle.above, middle.total]).toEqual([49_988, 50_037, 49_988, 100_000]);
  expect(log.window(99_990, 24).end).toBe(100_000);
  expect(log.search("LINE 99999")).toEqual([99_999]);

  log.wrap(10);
  expect(log.rowsOf(0)).toBe(1);
  // `line 10000` has ten characters, and no more.
  expect([log.rowsOf(9_999), log.rowsOf(10_000)]).toEqual([1, 1]);
  log.append([line("x".repeat(25)), line("", "a.b"), line("日本語日本語")]);
  expect([100_000, 100_001, 100_002].map((index) => log.rowsOf(index))).toEqual([3, 1, 2]);
  expect(log.rowOf(100_001)).toBe(100_003);
  const end = log.window(100_000, 5, 0);
  expect([end.first, end.total]).toEqual([100_000, 100_006]);
  log.wrap(0);
  expect(log.window(0, 1, 0).total).toBe(100_003);
});

test("names lead to pages, and only where there is one", () => {
  const deployment = "tenants/acme/projects/shop/environments/dev/deployments/web";
  expect(pathOf(deployment)).toBe("/t/acme/p/shop/e/dev/d/web");
  expect(pathOf(`${deployment}/runs/0199`)).toBe("/t/acme/p/shop/e/dev/d/web/runs/0199");
  expect(pathOf(`${deployment}/driftItems/0199`)).toBe("/t/acme/p/shop/e/dev/d/web?tab=drift");
  expect(pathOf("tenants/acme/blueprints/web/versions/1.0.0")).toBe("/t/acme/blueprints/web?version=1.0.0");
  expect(pathOf("tenants/acme")).toBe("/t/acme");
  expect(pathOf("runnerPools/default/runners/r1")).toBe("/admin");
  expect(pathOf("tenants/acme/users/ada")).toBeUndefined();
  expect(pathOf("roles/approver")).toBeUndefined();
  expect(shortName(`${deployment}/runs/0199`)).toBe("shop/dev/web");
  expect(parts(deployment)["environments"]).toBe("dev");
});

test("times are short", () => {
  expect([120, 4_250, 65_000, 3_600_000, 90_000_000, 1_000_000_000].map(duration)).toEqual(["120 ms", "4.2 s", "1 min 5 s", "1 h", "1 d 1 h", "11 d"]);
  expect([relative(0, 1_000), relative(0, 70_000), relative(7_200_000, 0)]).toEqual(["just now", "1 min ago", "in 2 h"]);
});
