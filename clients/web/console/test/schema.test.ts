import { expect, test } from "vitest";

import { type Draft, type Json, cliInputs, draftOf, emptyDraft, fieldsOf, readForm } from "../src/lib/schema.js";

const SCHEMA = JSON.stringify({
  type: "object",
  required: ["name", "size", "sized"],
  properties: {
    note: { type: "string", pattern: "^[a-z]+$", maxLength: 5 },
    name: { type: "string", minLength: 2 },
    size: { type: "string", enum: ["small", "large"] },
    sized: { type: "integer", default: 2, minimum: 1, maximum: 4 },
    ratio: { type: "number" },
    level: { type: "integer", enum: [1, 2] },
    on: { type: "boolean" },
    net: { type: "string", format: "cidr" },
    hosts: { type: "array", items: { type: "string", minLength: 2 }, maxItems: 2 },
    labels: { type: "object", additionalProperties: { type: "integer" } },
    limits: { type: "object", required: ["cpu"], properties: { cpu: { type: "number" }, memory: { type: "string", format: "quantity" } } },
    token: { type: "string", sensitive: true },
    odd: { type: "string", pattern: "(?i:x)(?P<y>z)" },
  },
});
const fields = fieldsOf(SCHEMA);
const read = (drafts: Record<string, Draft>) => {
  const { inputs, faults } = readForm(fields, { name: "ada", size: "small", ...drafts });
  return { inputs, faults: Object.fromEntries(faults) };
};

test("required inputs come first, and one with a default is not required", () => {
  expect(fields.map((field) => field.name).slice(0, 3)).toEqual(["name", "size", "note"]);
  expect(fields.find((field) => field.name === "sized")?.required).toBe(false);
  expect(fieldsOf("")).toEqual([]);
});

test("what is left alone is left out, and what is missing is named", () => {
  expect(read({}).inputs).toEqual({ name: "ada", size: "small" });
  expect(read({ name: "", size: undefined }).faults).toEqual({ "inputs.name": "is required", "inputs.size": "is required" });
});

test("every kind is read as its own type", () => {
  const { inputs, faults } = read({
    sized: "3",
    ratio: "-0.5",
    level: "2",
    on: false,
    net: "10.0.0.0/8",
    hosts: ["ab", "cd"],
    labels: [["a", "1"]],
    limits: { cpu: "2", memory: "512Mi" },
    odd: "left to the server",
  });
  expect(faults).toEqual({});
  expect(inputs).toEqual({
    name: "ada",
    size: "small",
    sized: 3,
    ratio: -0.5,
    level: 2,
    on: false,
    net: "10.0.0.0/8",
    hosts: ["ab", "cd"],
    labels: { a: 1 },
    limits: { cpu: 2, memory: "512Mi" },
    odd: "left to the server",
  });
});

test("faults are named as the server names them", () => {
  const { faults } = read({
    name: "x",
    note: "LOUDER",
    size: "huge",
    sized: "5",
    ratio: "lots",
    level: "1.5",
    net: "everywhere",
    hosts: ["ok", "x", ""],
    labels: [["a", "1"], ["a", "2"], ["", "3"], ["b", ""]],
    limits: { memory: "much" },
  });
  expect(faults).toMatchObject({
    "inputs.name": "needs at least 2 characters",
    "inputs.note": "may have 5 characters at most, and has 6",
    "inputs.size": 'must be one of "small", "large"',
    "inputs.sized": "must be at most 4",
    "inputs.ratio": "must be a number",
    "inputs.net": "must look like 10.0.0.0/16",
    "inputs.hosts[1]": "needs at least 2 characters",
    "inputs.hosts[2]": "is empty; fill it in or remove it",
    "inputs.hosts": "may have 2 at most",
    'inputs.labels["a"]': "is there twice",
    'inputs.labels[""]': "needs a name",
    'inputs.labels["b"]': "is empty; fill it in or remove it",
    "inputs.limits.cpu": "is required",
    "inputs.limits.memory": "must look like 512Mi, 250m or 2",
  });
  expect(faults["inputs.level"]).toBeDefined();
  expect(read({ note: "UP" }).faults).toEqual({ "inputs.note": "must match ^[a-z]+$" });
});

test("a form that begins with what is there sends the same", () => {
  const inputs = {
    name: "ada",
    size: "large",
    sized: 3,
    ratio: 0.25,
    on: true,
    net: "10.0.0.0/8",
    hosts: ["ab", "cd"],
    labels: { a: 1, b: 2 },
    limits: { cpu: 2, memory: "1Gi" },
  };
  const drafts = Object.fromEntries(fields.map(({ name, type }) => [name, draftOf(type, (inputs as Record<string, Json>)[name])]));
  const { inputs: again, faults } = readForm(fields, drafts);
  expect([...faults]).toEqual([]);
  expect(again).toEqual(inputs);
});

test("an input that names its secret is left out, so that the server keeps the name", () => {
  const token = fields.find((field) => field.name === "token")!;
  const named: Json = { $secret: { store: "vault", path: "db/prod", key: "password" } };
  const drafts = { token: draftOf(token.type, named) };
  expect(readForm([{ ...token, required: false }], drafts).inputs).toEqual({});
});

test("a group into which nothing was written is left out, whatever it would ask for", () => {
  expect(read({ limits: {} }).inputs).not.toHaveProperty("limits");
  expect(read({ limits: { cpu: "" } }).faults).toEqual({});
  expect(emptyDraft(fields.find((field) => field.name === "limits")!.type)).toEqual({});
});

test("the command line says the same, and no secret", () => {
  const { inputs } = read({ token: "do not show", hosts: ["it's"] });
  expect(cliInputs(inputs, new Set(["token"]))).toBe(` --input name=ada --input size=small --input 'hosts=["it'\\''s"]' --input 'token=…'`);
});
