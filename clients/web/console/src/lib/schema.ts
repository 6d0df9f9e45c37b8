/** Forms from the input schema of a blueprint version: a JSON Schema of an object, as deploy/blueprints.md describes it. */

/** A value that can be sent. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

interface Common {
  readonly description: string;
  readonly choices: readonly Json[];
  readonly default: Json | undefined;
  readonly immutable: boolean;
  readonly sensitive: boolean;
}

/** What can be given for an input, or for a part of one. */
export type Type = Common &
  (
    | { readonly kind: "text"; readonly format: string; readonly pattern: string; readonly minLength?: number; readonly maxLength?: number }
    | { readonly kind: "number"; readonly whole: boolean; readonly minimum?: number; readonly maximum?: number }
    | { readonly kind: "boolean" }
    | { readonly kind: "list"; readonly items: Type; readonly minItems: number; readonly maxItems?: number }
    | { readonly kind: "object"; readonly fields: readonly Field[] }
    | { readonly kind: "map"; readonly values: Type }
  );

/** A named part. */
export interface Field {
  readonly name: string;
  readonly required: boolean;
  readonly type: Type;
}

/** What has been written into a form so far: text as it is written, and nothing for what was left alone. */
export type Draft = string | boolean | undefined | Draft[] | { [key: string]: Draft } | [key: string, value: Draft][];

type Schema = Record<string, unknown>;

/** The inputs that a schema asks for; required ones first, as they have to be given. */
export function fieldsOf(text: string): Field[] {
  const schema = JSON.parse(text || "{}") as Schema;
  const fields = properties(schema);
  return [...fields.filter((field) => field.required), ...fields.filter((field) => !field.required)];
}

function properties(schema: Schema): Field[] {
  const required = Array.isArray(schema["required"]) ? schema["required"] : [];
  const named = (schema["properties"] ?? {}) as Record<string, Schema>;
  return Object.entries(named).map(([name, inner]) => {
    const type = typeOf(inner);
    return { name, required: required.includes(name) && type.default === undefined, type };
  });
}

function typeOf(schema: Schema): Type {
  const text = (key: string) => (typeof schema[key] === "string" ? schema[key] : "");
  const number = <K extends string>(key: K) => (typeof schema[key] === "number" ? ({ [key]: schema[key] } as Record<K, number>) : {});
  const common: Common = {
    description: text("description"),
    choices: Array.isArray(schema["enum"]) ? (schema["enum"] as Json[]) : [],
    default: schema["default"] as Json | undefined,
    immutable: schema["immutable"] === true,
    sensitive: schema["sensitive"] === true,
  };
  switch (schema["type"]) {
    case "integer":
    case "number":
      return { ...common, kind: "number", whole: schema["type"] === "integer", ...number("minimum"), ...number("maximum") };
    case "boolean":
      return { ...common, kind: "boolean" };
    case "array":
      return { ...common, kind: "list", items: typeOf((schema["items"] ?? {}) as Schema), minItems: Number(schema["minItems"] ?? 0), ...number("maxItems") };
    case "object": {
      const any = schema["additionalProperties"];
      if (typeof any === "object" && any !== null) return { ...common, kind: "map", values: typeOf(any as Schema) };
      return { ...common, kind: "object", fields: properties(schema) };
    }
    default:
      return { ...common, kind: "text", format: text("format"), pattern: text("pattern"), ...number("minLength"), ...number("maxLength") };
  }
}

/** What a form begins with for a type; defaults are shown beside the field instead, so that they stay the blueprint's. */
export function emptyDraft(type: Type): Draft {
  switch (type.kind) {
    case "list":
      return type.default === undefined ? Array.from({ length: type.minItems }, () => emptyDraft(type.items)) : undefined;
    case "object":
      return {};
    case "map":
      return type.default === undefined ? [] : undefined;
    default:
      return undefined;
  }
}

/** What a form begins with for a value that is there. */
export function draftOf(type: Type, value: Json | undefined): Draft {
  // An input that names its secret is kept where nothing is written, like one whose value nobody can read.
  if (value === undefined || value === null || namesSecret(value)) return emptyDraft(type);
  switch (type.kind) {
    case "list":
      return Array.isArray(value) ? value.map((item) => draftOf(type.items, item)) : emptyDraft(type);
    case "object": {
      if (typeof value !== "object" || Array.isArray(value)) return {};
      const known = type.fields.filter((field) => field.name in value);
      return Object.fromEntries(known.map((field) => [field.name, draftOf(field.type, value[field.name])]));
    }
    case "map":
      if (typeof value !== "object" || Array.isArray(value)) return [];
      return Object.entries(value).map(([key, item]): [string, Draft] => [key, draftOf(type.values, item)]);
    case "boolean":
      return typeof value === "boolean" ? value : undefined;
    default:
      return typeof value === "string" ? value : JSON.stringify(value);
  }
}

function namesSecret(value: Json): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value) && "$secret" in value;
}

/** What a form holds, as it is sent, and everything that is wrong with it by field, named as the server names them. */
export interface Outcome {
  readonly value: Json | undefined;
  readonly faults: Map<string, string>;
}

/** Reads all inputs of a form. */
export function readForm(fields: readonly Field[], drafts: Record<string, Draft>): { inputs: Record<string, Json>; faults: Map<string, string> } {
  const faults = new Map<string, string>();
  const inputs = readFields(fields, drafts, "inputs", faults);
  return { inputs, faults };
}

function readFields(fields: readonly Field[], drafts: Record<string, Draft>, path: string, faults: Map<string, string>): Record<string, Json> {
  const values: Record<string, Json> = {};
  for (const { name, type, required } of fields) {
    const own = `${path}.${name}`;
    const value = read(type, drafts[name], own, faults);
    if (value !== undefined) values[name] = value;
    else if (required && !faults.has(own)) faults.set(own, "is required");
  }
  return values;
}

function read(type: Type, draft: Draft, path: string, faults: Map<string, string>): Json | undefined {
  const value = parse(type, draft, path, faults);
  if (value === undefined) return undefined;
  if (type.choices.length > 0 && !type.choices.some((choice) => JSON.stringify(choice) === JSON.stringify(value))) {
    faults.set(path, `must be one of ${type.choices.map((choice) => JSON.stringify(choice)).join(", ")}`);
  }
  return value;
}

function parse(type: Type, draft: Draft, path: string, faults: Map<string, string>): Json | undefined {
  const fault = (why: string) => void faults.set(path, why);
  switch (type.kind) {
    case "text": {
      if (typeof draft !== "string" || draft === "") return undefined;
      const length = [...draft].length;
      const { minLength, maxLength, pattern, format } = type;
      if (minLength !== undefined && length < minLength) fault(`needs at least ${minLength} characters`);
      else if (maxLength !== undefined && length > maxLength) fault(`may have ${maxLength} characters at most, and has ${length}`);
      else if (pattern && fits(pattern, draft) === false) fault(`must match ${pattern}`);
      else if (format && FORMATS[format] && !FORMATS[format].test(draft)) fault(`must look like ${EXAMPLES[format] ?? format}`);
      return draft;
    }
    case "number": {
      if (typeof draft !== "string" || draft.trim() === "") return undefined;
      const value = Number(draft);
      if (!Number.isFinite(value)) fault("must be a number");
      else if (type.whole && !Number.isInteger(value)) fault("must be a whole number");
      else if (type.minimum !== undefined && value < type.minimum) fault(`must be at least ${type.minimum}`);
      else if (type.maximum !== undefined && value > type.maximum) fault(`must be at most ${type.maximum}`);
      return Number.isFinite(value) ? value : undefined;
    }
    case "boolean":
      return typeof draft === "boolean" ? draft : undefined;
    case "list": {
      if (!Array.isArray(draft)) return undefined;
      const values: Json[] = [];
      for (const [index, item] of (draft as Draft[]).entries()) {
        const own = `${path}[${index}]`;
        const value = read(type.items, item, own, faults);
        if (value === undefined && !faults.has(own)) faults.set(own, "is empty; fill it in or remove it");
        values.push(value ?? null);
      }
      if (values.length < type.minItems) fault(`needs at least ${type.minItems}`);
      else if (type.maxItems !== undefined && values.length > type.maxItems) fault(`may have ${type.maxItems} at most`);
      return values;
    }
    case "object": {
      const values = readFields(type.fields, (draft ?? {}) as Record<string, Draft>, path, new Map());
      // Nothing was written into it: then it is left out as a whole, whatever it would ask for.
      if (Object.keys(values).length === 0 && !touched(draft)) return undefined;
      return readFields(type.fields, (draft ?? {}) as Record<string, Draft>, path, faults);
    }
    case "map": {
      if (!Array.isArray(draft)) return undefined;
      const values: Record<string, Json> = {};
      for (const [key, item] of draft as [string, Draft][]) {
        const own = `${path}[${JSON.stringify(key)}]`;
        if (key === "") faults.set(own, "needs a name");
        else if (key in values) faults.set(own, "is there twice");
        const value = read(type.values, item, own, faults);
        if (value === undefined && !faults.has(own)) faults.set(own, "is empty; fill it in or remove it");
        values[key] = value ?? null;
      }
      return values;
    }
  }
}

function touched(draft: Draft): boolean {
  if (draft === undefined || draft === "") return false;
  return typeof draft === "object" ? Object.values(draft).some((part) => touched(part as Draft)) : true;
}

const FORMATS: Record<string, RegExp> = {
  cidr: /^[0-9a-f.:]+\/\d{1,3}$/i,
  duration: /^\d+[smhd]$/,
  quantity: /^\d+(\.\d+)?(m|[kMGTPE]i?)?$/,
  "secret-ref": /^secrets\/\S+$/,
  "connection-ref": /^connections\/\S+$/,
  "deployment-output-ref": /^[a-z][a-z0-9-]*\/[a-z][a-z0-9-]*\/[a-z][a-z0-9-]*#[a-z][a-z0-9_]*$/,
};

/** How texts of a format look. */
export const EXAMPLES: Record<string, string> = {
  cidr: "10.0.0.0/16",
  duration: "30s, 5m, 12h or 7d",
  quantity: "512Mi, 250m or 2",
  "secret-ref": "secrets/db",
  "connection-ref": "connections/aws",
  "deployment-output-ref": "shop/dev/network#vpc_id",
};

/** Whether a text has a pattern in it; undefined for one that only the server's RE2 can read. */
function fits(pattern: string, text: string): boolean | undefined {
  try {
    return new RegExp(pattern, "u").test(text);
  } catch {
    return undefined;
  }
}

/** A text as one word for a shell. */
export const quoted = (text: string): string => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** The same as arguments of the command line. */
export function cliInputs(inputs: Record<string, Json>, secret: ReadonlySet<string>): string {
  return Object.entries(inputs)
    .map(([name, value]) => {
      const text = secret.has(name) ? "…" : typeof value === "string" ? value : JSON.stringify(value);
      return ` --input ${quoted(`${name}=${text}`)}`;
    })
    .join("");
}
