import { match, place } from "./router.jsx";
import { Store } from "./store.js";

const KEPT = "freehold.tenant";

/** Id of the tenant that was looked at last: people of the installation come back to where they were. */
export const currentTenant = new Store(localStorage.getItem(KEPT) ?? "");

/** Takes the tenant out of the address, when there is one. */
function look(): void {
  const { path } = place.get();
  const tenant = match("/t/:tenant", path.split("/").slice(0, 3).join("/"))?.["tenant"];
  if (tenant) chooseTenant(tenant);
}

/** Makes a tenant the current one; empty for none. */
export function chooseTenant(tenant: string): void {
  if (tenant) localStorage.setItem(KEPT, tenant);
  else localStorage.removeItem(KEPT);
  currentTenant.set(tenant);
}

look();
place.subscribe(look);
