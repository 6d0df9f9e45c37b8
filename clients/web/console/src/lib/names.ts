/** The parts of a resource name by their collections: `tenants/acme/projects/shop` is `{ tenants: "acme", projects: "shop" }`. */
export function parts(name: string): Record<string, string> {
  const found: Record<string, string> = {};
  const pieces = name.split("/");
  for (let at = 0; at + 1 < pieces.length; at += 2) found[pieces[at] ?? ""] = pieces[at + 1] ?? "";
  return found;
}

/** The last part of a name: what it is called where its parent is known. */
export const lastPart = (name: string): string => name.slice(name.lastIndexOf("/") + 1);

/** A name without its last collection and id. */
export const parentOf = (name: string): string => name.split("/").slice(0, -2).join("/");

/** `shop/dev/web` for a deployment and what is below it, as the command line has it. */
export function shortName(name: string): string {
  const { projects, environments, deployments } = parts(name);
  const short = [projects, environments, deployments].filter(Boolean).join("/");
  return short || name.replace(/^tenants\/[^/]+\//, "");
}

/** `greeting@1.0.0` for a version of a blueprint. */
export function versionName(name: string): string {
  const { blueprints = "", versions = "" } = parts(name);
  return versions ? `${blueprints}@${versions}` : blueprints || name;
}

/** A person or program without its tenant: `users/ada`. */
export const personName = (principal: string): string => principal.replace(/^tenants\/[^/]+\//, "");

/** Each collection with a page, and the part of the path that it is. */
const PLACES: [collection: string, path: string][] = [
  ["tenants", "t"],
  ["projects", "p"],
  ["environments", "e"],
  ["deployments", "d"],
  ["runs", "runs"],
];

/** The address of the page of a resource; undefined when it has none. What is below a deployment has that of the deployment. */
export function pathOf(name: string): string | undefined {
  const pieces = name.split("/");
  const id = (at: number) => encodeURIComponent(pieces[at] ?? "");
  if (pieces[0] === "runnerPools") return "/admin";
  if (pieces[0] !== "tenants" || !pieces[1]) return undefined;
  if (pieces[2] === "blueprints" && pieces[3]) {
    const version = pieces[4] === "versions" && pieces[5] ? `?version=${id(5)}` : "";
    return `/t/${id(1)}/blueprints/${id(3)}${version}`;
  }
  if (pieces[2] === "webhookEndpoints" && pieces[3]) {
    const delivery = pieces[4] === "deliveries" && pieces[5] ? `?delivery=${id(5)}` : "";
    return `/t/${id(1)}/webhooks/${id(3)}${delivery}`;
  }
  if (pieces[2] === "connections" && pieces[3]) return `/t/${id(1)}/connections/${id(3)}`;
  // A member, key or quota of a tenant has no page of its own.
  if (pieces.length > 2 && pieces[2] !== "projects") return undefined;
  let path = "";
  for (const [index, [collection, short]] of PLACES.entries()) {
    if (pieces[index * 2] !== collection || !pieces[index * 2 + 1]) break;
    path += `/${short}/${id(index * 2 + 1)}`;
  }
  const tab = { driftItems: "drift", stateVersions: "resources" }[pieces[8] ?? ""];
  return tab ? `${path}?tab=${tab}` : path;
}
