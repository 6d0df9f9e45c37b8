import { BlueprintChangeKind, type BlueprintVersion, VersionImpact } from "@freehold/client/gen/freehold/blueprints/v1/blueprint_pb";
import { useState } from "preact/hooks";

import { all, api, given } from "../lib/api.js";
import { shortDigest, word } from "../lib/format.js";
import { lastPart, parts } from "../lib/names.js";
import { useQuery } from "../lib/query.js";
import { Link, usePlace } from "../lib/router.jsx";
import { type Field, type Type, fieldsOf } from "../lib/schema.js";
import { Icon } from "../parts/icons.jsx";
import { Ago } from "../parts/times.jsx";
import { Answer, Copy, Empty, Fact, Page, Panel, Person } from "../parts/ui.jsx";

/** What does this blueprint make, and what does it ask for? */
export function BlueprintPage({ name }: { name: string }) {
  const { query, path } = usePlace();
  const { tenants = "" } = parts(name);
  const blueprint = useQuery(`blueprint:${name}`, async () => (await api.blueprints.getBlueprint({ name })).blueprint, [name]);
  const versions = useQuery(
    `versions:${name}`,
    async () => {
      const list = await all(async (pageToken) => {
        const page = await api.blueprints.listBlueprintVersions({ parent: name, pageSize: 500, pageToken });
        return { items: page.blueprintVersions, nextPageToken: page.nextPageToken };
      });
      return list.reverse();
    },
    [name],
  );
  const chosen = query.get("version") || blueprint.data?.latestVersion || versions.data?.[0]?.version;
  const at = versions.data?.findIndex((version) => version.version === chosen) ?? -1;
  const before = versions.data?.[at + 1]?.version;
  const { displayName, description } = blueprint.data ?? {};
  return (
    <Page
      kind="Blueprint"
      title={displayName || lastPart(name)}
      crumbs={[
        { text: tenants, to: `/t/${tenants}` },
        { text: "Blueprints", to: `/t/${tenants}/blueprints` },
      ]}
      badge={chosen && <span class="tag mono">{chosen}</span>}
      actions={
        chosen && (
          <Link to={`/t/${tenants}/deploy?blueprint=${lastPart(name)}&version=${chosen}`} class="button primary">
            <Icon name="plus" /> Deploy {chosen}
          </Link>
        )
      }
    >
      {description && <p class="lead">{description}</p>}
      <div class="sided">
        <div>{chosen ? <VersionView name={`${name}/versions/${chosen}`} before={before} blueprint={name} /> : null}</div>
        <Panel title="Versions" note={versions.data?.length}>
          <Answer query={versions}>
            {(list) =>
              list.length === 0 ? (
                <Empty cli={`freehold blueprint publish ${lastPart(name)}@1.0.0`}>Nothing has been published yet; only versions can be deployed.</Empty>
              ) : (
                <ul class="list tight">
                  {list.map((version) => (
                    <li key={version.name}>
                      <Link to={`${path}?version=${version.version}`} class="row" row current={version.version === chosen}>
                        <strong class="mono">{version.version}</strong>
                        <Ago time={version.createTime} />
                      </Link>
                    </li>
                  ))}
                </ul>
              )
            }
          </Answer>
        </Panel>
      </div>
    </Page>
  );
}

function VersionView({ name, before, blueprint }: { name: string; before: string | undefined; blueprint: string }) {
  const version = useQuery(`version:${name}`, async () => given((await api.blueprints.getBlueprintVersion({ name })).blueprintVersion), [name]);
  return (
    <Answer query={version}>
      {(data) => (
        <>
          {data.notes && <p class="notice">{data.notes}</p>}
          <Panel title="Inputs">
            <InputTable fields={fieldsOf(data.inputSchema)} />
          </Panel>
          <Panel title="Outputs">
            {data.outputs.length === 0 ? <p class="quiet">None.</p> : <p class="mono names">{data.outputs.map((output) => <code key={output}>{output}</code>)}</p>}
          </Panel>
          {before && <Differences parent={blueprint} from={before} to={data.version} />}
          <Files version={data} />
          <Panel title="Facts">
            <dl class="facts wide">
              <Fact name="Engine">{data.engine}</Fact>
              <Fact name="Published">
                <Ago time={data.createTime} /> by <Person principal={data.createPrincipal} />
              </Fact>
              {data.sources.map((source) => (
                <Fact key={`${source.repository}/${source.path} ${source.directory}`} name={source.directory ? `Source of ${source.directory}` : "Source"}>
                  <Copy text={source.commit} what="commit">
                    {source.repository}@{source.commit.slice(0, 7)}
                  </Copy>
                </Fact>
              ))}
              <Fact name="Digest">
                <Copy text={data.digest} what="digest">
                  {shortDigest(data.digest)}
                </Copy>
              </Fact>
            </dl>
          </Panel>
        </>
      )}
    </Answer>
  );
}

function InputTable({ fields }: { fields: readonly Field[] }) {
  if (fields.length === 0) return <p class="quiet">It asks for nothing.</p>;
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label="Inputs">
      <table>
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">Type</th>
            <th scope="col">Default</th>
            <th scope="col">What it is</th>
          </tr>
        </thead>
        <tbody>
          {fields.map(({ name, required, type }) => (
            <tr key={name}>
              <th scope="row" class="mono">
                {name}
              </th>
              <td>
                {describe(type)}
                {type.sensitive && <span class="tag">secret</span>}
                {type.immutable && <span class="tag">stays as it is</span>}
              </td>
              <td class="mono">{required ? <span class="quiet">required</span> : type.default === undefined ? <span class="quiet">none</span> : JSON.stringify(type.default)}</td>
              <td>{type.description}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** A type in words, with its bounds. */
export function describe(type: Type): string {
  if (type.choices.length > 0) return `one of ${type.choices.map((choice) => JSON.stringify(choice)).join(", ")}`;
  const between = (low: number | undefined, high: number | undefined, unit = "") => {
    if (low !== undefined && high !== undefined) return ` from ${low} to ${high}${unit}`;
    if (low !== undefined) return ` of at least ${low}${unit}`;
    return high === undefined ? "" : ` of at most ${high}${unit}`;
  };
  switch (type.kind) {
    case "text":
      return `${type.format || "text"}${between(type.minLength, type.maxLength, " characters")}`;
    case "number":
      return `${type.whole ? "whole number" : "number"}${between(type.minimum, type.maximum)}`;
    case "boolean":
      return "yes or no";
    case "list":
      return `list of ${describe(type.items)}`;
    case "object":
      return `group of ${type.fields.map((field) => field.name).join(", ")}`;
    case "map":
      return `names with ${describe(type.values)}`;
  }
}

function Differences({ parent, from, to }: { parent: string; from: string; to: string }) {
  const diff = useQuery(`diff:${parent}:${from}:${to}`, () => api.blueprints.diffBlueprintVersions({ parent, from, to }));
  return (
    <Panel title={`What is different from ${from}`} note={diff.data && diff.data.impact > 0 ? word(VersionImpact, diff.data.impact) : undefined}>
      <Answer query={diff} rows={2}>
        {({ changes }) =>
          changes.length === 0 ? (
            <p class="quiet">Neither inputs nor outputs nor resources.</p>
          ) : (
            <table class="attributes">
              <tbody>
                {changes.map((change) => (
                  <tr key={change.path}>
                    <th scope="row">
                      {change.path} <span class="quiet">{word(BlueprintChangeKind, change.kind)}</span>
                    </th>
                    <td class="old">
                      <span class="value">{change.before}</span>
                    </td>
                    <td class="new">
                      <span class="value">{change.after}</span>
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          )
        }
      </Answer>
    </Panel>
  );
}

function Files({ version }: { version: BlueprintVersion }) {
  const [chosen, setChosen] = useState("blueprint.yaml");
  const file = version.files.find((file) => file.path === chosen) ?? version.files[0];
  if (!file) return null;
  return (
    <Panel title="Files" note={version.files.length}>
      {version.files.length > 1 && (
        <div class="pills" role="group" aria-label="Files">
          {version.files.map(({ path }) => (
            <button key={path} type="button" aria-pressed={path === file.path} onClick={() => setChosen(path)}>
              {path}
            </button>
          ))}
        </div>
      )}
      <pre class="code" tabIndex={0} aria-label={file.path}>
        {new TextDecoder().decode(file.content)}
      </pre>
    </Panel>
  );
}
