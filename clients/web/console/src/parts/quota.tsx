import { Dimension } from "@freehold/client/gen/freehold/common/v1/policy_pb";
import type { Quota } from "@freehold/client/gen/freehold/quotas/v1/quota_service_pb";

import { amount, word } from "../lib/format.js";
import { NEAR, share } from "../lib/waiting.js";
import { Ago } from "./times.jsx";

/** One quota: what is used, what runs have put aside, and the limit. */
export function QuotaBar({ quota }: { quota: Quota }) {
  const name = word(Dimension, quota.dimension);
  const bytes = quota.dimension === Dimension.STORAGE_BYTES;
  const { limit, used, reserved } = quota;
  const taken = share(quota);
  const part = (value: bigint) => (limit ? `${Math.min(100, (Number(value) / Number(limit)) * 100)}%` : "0%");
  const state = taken >= 1 ? "full" : taken >= NEAR ? "near" : "";
  const said = limit === undefined ? `${amount(used, bytes)} used, no limit` : `${amount(used, bytes)} used, ${amount(reserved, bytes)} reserved, of ${amount(limit, bytes)}`;
  return (
    <div class={`quota ${state}`}>
      <div class="quota-name">
        <span>{name.replace(" bytes", "")}</span>
        {state && <span class="quota-state">{state === "full" ? "used up" : "nearly used up"}</span>}
        <span class="number">
          {amount(used, bytes)}
          {reserved > 0n && <span class="quiet"> + {amount(reserved, bytes)} reserved</span>}
          <span class="quiet"> / {limit === undefined ? "no limit" : amount(limit, bytes)}</span>
        </span>
      </div>
      <div class="bar" role="img" aria-label={`${name}: ${said}`}>
        <span class="used" style={{ width: part(used) }} />
        <span class="reserved" style={{ width: part(reserved) }} />
      </div>
      {quota.resetTime && (
        <p class="fine">
          starts anew <Ago time={quota.resetTime} />
        </p>
      )}
    </div>
  );
}
