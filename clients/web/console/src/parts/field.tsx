import type { ComponentChildren } from "preact";

import { type Draft, EXAMPLES, type Field, type Json, type Type, emptyDraft } from "../lib/schema.js";
import { Icon } from "./icons.jsx";

/** What every part of a form knows. */
export interface FormState {
  /** What is wrong, by field. */
  readonly faults: ReadonlyMap<string, string>;
  /** A secret that is not given stays as it is. */
  readonly keepsSecrets?: boolean;
}

interface FieldProps {
  field: Field;
  path: string;
  draft: Draft;
  form: FormState;
  change: (draft: Draft) => void;
}

/** An input with its name, what it is, and what is wrong with it. */
export function FieldView({ field, path, draft, form, change }: FieldProps) {
  const { name, required, type } = field;
  const id = idOf(path);
  const fault = form.faults.get(path);
  const grouped = type.kind === "list" || type.kind === "object" || type.kind === "map";
  const head = (
    <>
      <span class="field-name">{name}</span>
      {required ? <span class="must">required</span> : <span class="quiet">{type.sensitive && form.keepsSecrets ? "stays as it is unless given" : fallback(type)}</span>}
      {type.immutable && <span class="tag">cannot be changed later</span>}
      {type.sensitive && <span class="tag">secret</span>}
    </>
  );
  const notes = (
    <>
      {(type.description || hint(type)) && (
        <p class="help" id={`${id}-help`}>
          {[type.description, hint(type)].filter(Boolean).join(" · ")}
        </p>
      )}
      {fault && (
        <p class="fault" id={`${id}-fault`}>
          <Icon name="warn" /> {fault}
        </p>
      )}
    </>
  );
  if (grouped)
    return (
      <fieldset class={fault ? "field wrong" : "field"}>
        <legend>{head}</legend>
        {notes}
        <TypeView type={type} path={path} draft={draft} form={form} change={change} label={name} required={required} />
      </fieldset>
    );
  return (
    <div class={fault ? "field wrong" : "field"}>
      <label for={id}>{head}</label>
      <TypeView type={type} path={path} draft={draft} form={form} change={change} label={name} required={required} />
      {notes}
    </div>
  );
}

/** What is taken when nothing is given. */
function fallback({ default: value }: Type): string {
  const empty = value === undefined || (typeof value === "object" && value !== null && Object.keys(value).length === 0);
  return empty ? "optional" : `default ${typeof value === "string" ? value : JSON.stringify(value)}`;
}

/** What a value may be, where its control does not show it. */
function hint(type: Type): string {
  if (type.choices.length > 0) return "";
  switch (type.kind) {
    case "number": {
      const { minimum, maximum } = type;
      if (minimum !== undefined && maximum !== undefined) return `${minimum} to ${maximum}`;
      return minimum !== undefined ? `at least ${minimum}` : maximum !== undefined ? `at most ${maximum}` : "";
    }
    case "text":
      return EXAMPLES[type.format] ? `for example ${EXAMPLES[type.format]}` : type.maxLength !== undefined ? `at most ${type.maxLength} characters` : "";
    default:
      return "";
  }
}

/** A path of the server as an id of an element. */
export const idOf = (path: string): string => `field-${path.replace(/[^\w.-]/g, "_")}`;

interface TypeProps {
  type: Type;
  path: string;
  draft: Draft;
  form: FormState;
  change: (draft: Draft) => void;
  label: string;
  required: boolean;
}

function TypeView({ type, path, draft, form, change, label, required }: TypeProps) {
  const id = idOf(path);
  const wrong = form.faults.has(path);
  const said = { "aria-invalid": wrong, "aria-describedby": `${id}-help ${id}-fault` } as const;
  if (type.choices.length > 0 && type.kind !== "list" && type.kind !== "object" && type.kind !== "map") {
    const text = (choice: Json) => (typeof choice === "string" ? choice : JSON.stringify(choice));
    const value = typeof draft === "boolean" ? String(draft) : typeof draft === "string" ? draft : "";
    return (
      <select id={id} {...said} value={value} onChange={(event) => change(chosen(type, event.currentTarget.value))}>
        <option value="">{required ? "choose one" : type.default === undefined ? "none" : `default: ${text(type.default)}`}</option>
        {type.choices.map((choice) => (
          <option key={text(choice)} value={text(choice)}>
            {text(choice)}
          </option>
        ))}
      </select>
    );
  }
  switch (type.kind) {
    case "text":
      return type.sensitive ? (
        <input id={id} {...said} {...written(draft, change)} type="password" />
      ) : (
        <input id={id} {...said} {...written(draft, change)} type="text" />
      );
    case "number":
      return (
        <input
          id={id}
          {...said}
          {...written(draft, change)}
          type="text"
          inputMode={type.whole ? "numeric" : "decimal"}
          class="number"
        />
      );
    case "boolean":
      return (
        <select id={id} {...said} value={draft === undefined ? "" : String(draft)} onChange={(event) => change(chosen(type, event.currentTarget.value))}>
          <option value="">{type.default === undefined ? "not set" : `default: ${type.default === true ? "yes" : "no"}`}</option>
          <option value="true">yes</option>
          <option value="false">no</option>
        </select>
      );
    case "object":
      return (
        <div class="nested">
          {type.fields.map((field) => (
            <FieldView
              key={field.name}
              field={field}
              path={`${path}.${field.name}`}
              draft={((draft ?? {}) as Record<string, Draft>)[field.name]}
              form={form}
              change={(inner) => change({ ...((draft ?? {}) as Record<string, Draft>), [field.name]: inner })}
            />
          ))}
        </div>
      );
    case "list":
      return <ListView type={type} path={path} draft={draft} form={form} change={change} label={label} required={required} />;
    case "map":
      return <MapView type={type} path={path} draft={draft} form={form} change={change} label={label} required={required} />;
  }
}

/** A control that text is written into. */
function written(draft: Draft, change: (draft: Draft) => void) {
  return {
    autocomplete: "off",
    spellcheck: false,
    value: typeof draft === "string" ? draft : "",
    onInput: (event: { currentTarget: HTMLInputElement }) => change(event.currentTarget.value),
  };
}

/** What was chosen, as a draft of the type. */
function chosen(type: Type, value: string): Draft {
  if (value === "") return undefined;
  return type.kind === "boolean" ? value === "true" : value;
}

function ListView({ type, path, draft, form, change, label }: TypeProps) {
  if (type.kind !== "list") return null;
  const items = Array.isArray(draft) ? (draft as Draft[]) : [];
  return (
    <div class="nested">
      {items.map((item, index) => (
        <Item key={index} path={`${path}[${index}]`} form={form} label={`${label} ${index + 1}`} remove={() => change(items.filter((_, at) => at !== index))}>
          <TypeView
            type={type.items}
            path={`${path}[${index}]`}
            draft={item}
            form={form}
            label={`${label} ${index + 1}`}
            required
            change={(inner) => change(items.map((before, at) => (at === index ? inner : before)))}
          />
        </Item>
      ))}
      <Add what={label} add={() => change([...items, emptyDraft(type.items)])} />
    </div>
  );
}

function MapView({ type, path, draft, form, change, label }: TypeProps) {
  if (type.kind !== "map") return null;
  const entries = Array.isArray(draft) ? (draft as [string, Draft][]) : [];
  return (
    <div class="nested">
      {entries.map(([key, item], index) => {
        const own = `${path}[${JSON.stringify(key)}]`;
        const replace = (entry: [string, Draft]) => change(entries.map((before, at) => (at === index ? entry : before)));
        return (
          <Item key={index} path={own} form={form} label={`${label} ${key || index + 1}`} remove={() => change(entries.filter((_, at) => at !== index))}>
            <input
              type="text"
              class="map-key"
              aria-label={`Name of ${label} ${index + 1}`}
              placeholder="name"
              autocomplete="off"
              spellcheck={false}
              value={key}
              onInput={(event) => replace([event.currentTarget.value, item])}
            />
            <TypeView type={type.values} path={own} draft={item} form={form} label={key} required change={(inner) => replace([key, inner])} />
          </Item>
        );
      })}
      <Add what={label} add={() => change([...entries, ["", emptyDraft(type.values)]])} />
    </div>
  );
}

interface ItemProps {
  path: string;
  form: FormState;
  label: string;
  remove: () => void;
  children: ComponentChildren;
}

function Item({ path, form, label, remove, children }: ItemProps) {
  const fault = form.faults.get(path);
  return (
    <div class={fault ? "item wrong" : "item"}>
      <label class="hidden" for={idOf(path)}>
        {label}
      </label>
      {children}
      <button type="button" class="icon-button" aria-label={`Remove ${label}`} title="Remove" onClick={remove}>
        <Icon name="cross" />
      </button>
      {fault && (
        <p class="fault" id={`${idOf(path)}-fault`}>
          <Icon name="warn" /> {fault}
        </p>
      )}
    </div>
  );
}

function Add({ what, add }: { what: string; add: () => void }) {
  return (
    <button type="button" class="button small" onClick={add}>
      <Icon name="plus" /> Add to {what}
    </button>
  );
}
