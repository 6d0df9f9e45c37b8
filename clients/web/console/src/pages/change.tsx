import type { Deployment } from "@freehold/client/gen/freehold/deployments/v1/deployment_pb";

import { useRef, useState } from "preact/hooks";

import { all, api, given } from "../lib/api.js";
import { lastPart, parentOf, parts, pathOf, shortName, versionName } from "../lib/names.js";
import { useQuery } from "../lib/query.js";
import { setQuery, usePlace } from "../lib/router.jsx";
import { type Json, cliInputs } from "../lib/schema.js";
import { InputForm } from "../parts/inputform.jsx";
import { Answer, Page, Panel } from "../parts/ui.jsx";

/** Changes the version and the inputs of a deployment. The version is in the address. */
export function Change({ name }: { name: string }) {
  const { query } = usePlace();
  // As it was when the form began, so that its etag tells when others have changed it meanwhile.
  const [begun] = useState(() => Date.now());
  const deployment = useQuery(`change:${name}:${begun}`, async () => given((await api.deployments.getDeployment({ name })).deployment));
  const first = useRef<Deployment>(undefined);
  first.current ??= deployment.data;
  const present = first.current?.blueprintVersion ?? "";
  const blueprint = present.split("/versions/")[0] ?? "";
  const versions = useQuery(blueprint ? `versions:${blueprint}` : undefined, async () => {
    const list = await all(async (pageToken) => {
      const page = await api.blueprints.listBlueprintVersions({ parent: blueprint, pageSize: 500, pageToken });
      return { items: page.blueprintVersions, nextPageToken: page.nextPageToken };
    });
    return list.reverse();
  });
  const { tenants = "", projects = "", environments = "" } = parts(name);
  const wanted = query.get("version") ?? lastPart(present);
  const version = versions.data?.find((one) => one.version === wanted);
  return (
    <Page
      kind="Change"
      title={lastPart(name)}
      crumbs={[
        { text: tenants, to: `/t/${tenants}` },
        { text: projects, to: pathOf(`tenants/${tenants}/projects/${projects}`) ?? "/" },
        { text: environments, to: pathOf(parentOf(name)) ?? "/" },
        { text: lastPart(name), to: pathOf(name) ?? "/" },
      ]}
    >
      <Answer query={deployment}>
        {(newest, found = first.current ?? newest) => (
          <>
            <Panel title="Version">
              <label class="stacked">
                <span>Version of {lastPart(blueprint)}</span>
                <select value={wanted} onChange={(event) => setQuery({ version: event.currentTarget.value })}>
                  {versions.data?.map((one) => (
                    <option key={one.name} value={one.version}>
                      {one.version}
                      {one.name === present ? " (present)" : ""}
                    </option>
                  ))}
                </select>
              </label>
            </Panel>
            {version && (
              <InputForm
                key={`${version.name} ${found.uid}`}
                version={version}
                present={(found.inputs ?? {}) as Record<string, Json>}
                send={({ inputs, validateOnly, signal }) => update(found, version.name, inputs, validateOnly, signal)}
                words={{ only: "Only change it", plans: "Change and plan" }}
                cli={(_, inputs, secret) => `freehold deployment update ${shortName(name)} --blueprint ${versionName(version.name)}${cliInputs(inputs, secret)}`}
              />
            )}
          </>
        )}
      </Answer>
    </Page>
  );
}

/** Writes version and inputs, and nothing that has changed since it was read. */
async function update(deployment: Deployment, blueprintVersion: string, inputs: Record<string, Json>, validateOnly: boolean, signal?: AbortSignal): Promise<string> {
  const { name, etag } = deployment;
  await api.deployments.updateDeployment(
    { deployment: { name, etag, blueprintVersion, inputs }, updateMask: { paths: ["blueprint_version", "inputs"] }, validateOnly },
    signal ? { signal } : {},
  );
  return name;
}
