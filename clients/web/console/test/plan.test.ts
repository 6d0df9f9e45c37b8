import { create } from "@bufbuild/protobuf";
import { ChangeAction, PlanSummarySchema, ResourceChangeSchema, Reversibility } from "@freehold/client/gen/freehold/deployments/v1/run_pb";
import { expect, test } from "vitest";

import { counts, danger, grouped, needsName, reversibility, rows } from "../src/lib/plan.js";

const change = (address: string, action: ChangeAction, more: object = {}) =>
  create(ResourceChangeSchema, { address, type: address.split(".")[0] ?? "", action, ...more });

test("what takes something away comes first and cannot be folded", () => {
  const groups = grouped([
    change("file.a", ChangeAction.NOOP),
    change("file.b", ChangeAction.CREATE),
    change("file.c", ChangeAction.REPLACE),
    change("file.d", ChangeAction.DELETE),
    change("file.e", ChangeAction.UPDATE),
    change("file.f", ChangeAction.DELETE),
  ]);
  expect(groups.map(({ title, folds }) => [title, folds])).toEqual([
    ["Destroy 2 resources", "never"],
    ["Replace 1 resource", "never"],
    ["Change 1 resource", "open"],
    ["Create 1 resource", "open"],
    ["Leave alone 1 resource", "closed"],
  ]);
  expect(groups[0]?.changes.map((change) => change.address)).toEqual(["file.d", "file.f"]);
  // What a newer server calls something else is not hidden.
  for (const action of [99 as ChangeAction, ChangeAction.UNSPECIFIED]) expect(grouped([change("x.y", action)])[0]?.folds).toBe("never");
});

test("counts say zero too", () => {
  const said = counts(create(PlanSummarySchema, { create: 2, delete: 1 })).map(({ number, word }) => `${number} ${word}`);
  expect(said).toEqual(["2 to add", "0 to change", "0 to replace", "1 to destroy"]);
});

test("an attribute is two columns: hidden, unknown and absent values are said as such", () => {
  const { changed, unchanged } = rows(
    change("file.a", ChangeAction.UPDATE, {
      attributes: [
        { path: "same", before: '"x"', after: '"x"' },
        { path: "text", before: '"1"', after: "1" },
        { path: "lines", before: '"a\\nb"', after: "" },
        { path: "map", before: "", after: '{"a":1}' },
        { path: "later", before: '"x"', after: "", unknownAfter: true },
        { path: "secret", before: "", after: "", sensitive: true },
        { path: "both", before: "", after: "", sensitive: true, unknownAfter: true },
        { path: "fixed", before: "1", after: "2", forcesReplacement: true },
      ],
    }),
  );
  expect(unchanged.map((row) => row.path)).toEqual(["same"]);
  const shown = Object.fromEntries(changed.map((row) => [row.path, [row.before, row.after].map((side) => ("text" in side ? side.text : side.kind))]));
  expect(shown).toEqual({
    text: ['"1"', "1"],
    lines: ["a\nb", "none"],
    map: ["none", '{\n  "a": 1\n}'],
    later: ['"x"', "unknown"],
    secret: ["hidden", "hidden"],
    both: ["hidden", "unknown"],
    fixed: ["1", "2"],
  });
  expect(changed.find((row) => row.path === "fixed")?.forcesReplacement).toBe(true);
});

test("what is made has nothing before it, and what goes nothing after, however secret", () => {
  const attributes = [{ path: "p", before: "", after: "", sensitive: true }];
  expect(rows(change("a.b", ChangeAction.CREATE, { attributes })).changed[0]?.before.kind).toBe("none");
  expect(rows(change("a.b", ChangeAction.DELETE, { attributes })).changed[0]?.after.kind).toBe("none");
});

test("the danger is said in the words of the plan, and a name is asked for only where something is lost for good", () => {
  const harmless = [change("file.a", ChangeAction.UPDATE), change("file.b", ChangeAction.CREATE, { reversibility: Reversibility.REVERSIBLE })];
  expect([danger(harmless), needsName(harmless)]).toEqual([undefined, false]);
  const back = [change("file.a", ChangeAction.DELETE, { reversibility: Reversibility.REVERSIBLE })];
  expect([danger(back), needsName(back)]).toEqual(["Destroys 1 file.", false]);
  const final = [
    change("db.a", ChangeAction.DELETE, { reversibility: Reversibility.IRREVERSIBLE }),
    change("db.b", ChangeAction.DELETE, { reversibility: Reversibility.IRREVERSIBLE }),
    change("disk.c", ChangeAction.REPLACE, { reversibility: Reversibility.REVERSIBLE_WITH_DATA_LOSS }),
  ];
  expect(danger(final)).toBe("Destroys 2 db; replaces 1 disk; 2 changes cannot be undone; 1 change loses data.");
  expect(needsName(final)).toBe(true);
  expect(reversibility(final[0]!)).toEqual({ text: "cannot be undone", grave: true });
});
