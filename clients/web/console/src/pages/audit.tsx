import { AuditDecision, type AuditRecord } from "@freehold/client/gen/freehold/audit/v1/audit_service_pb";

import { api } from "../lib/api.js";
import { shortUid } from "../lib/format.js";
import { lastPart, parts, shortName } from "../lib/names.js";
import { usePaged } from "../lib/paged.js";
import { setQuery, usePlace } from "../lib/router.jsx";
import { Icon } from "../parts/icons.jsx";
import { Ago } from "../parts/times.jsx";
import { Answer, Badge, Copy, Empty, Fact, Page, Panel, Person, Resource } from "../parts/ui.jsx";

const PAGE = 100;

/** Who did what? */
export function Audit({ tenant }: { tenant: string }) {
  const { query } = usePlace();
  const parent = tenant && `tenants/${tenant}`;
  const { first, items: records, more, end } = usePaged(
    `audit:${parent}`,
    async (pageToken) => {
      const page = await api.audit.listAuditRecords({ parent, pageSize: PAGE, newestFirst: true, pageToken });
      return { items: page.auditRecords, nextPageToken: page.nextPageToken };
    },
    [parent],
  );
  const [text, decision] = [query.get("q") ?? "", query.get("decision") ?? ""];
  const shown = records.filter((record) => fits(record, text.toLowerCase(), decision));

  return (
    <Page kind="Audit" title={tenant || "Installation"}>
      <Panel title="What was done" note={more ? `newest ${records.length}` : records.length}>
        <form class="filters" onSubmit={(event) => event.preventDefault()}>
          <input
            type="text"
            aria-label="Who, what or which resource"
            placeholder="Who, what or which resource"
            value={text}
            onInput={(event) => setQuery({ q: event.currentTarget.value })}
          />
          <select aria-label="Decision" value={decision} onChange={(event) => setQuery({ decision: event.currentTarget.value })}>
            <option value="">allowed and denied</option>
            <option value="allowed">allowed only</option>
            <option value="denied">denied only</option>
          </select>
        </form>
        <Answer query={first}>
          {() =>
            shown.length === 0 ? (
              <Empty cli={`freehold audit list --limit 100`}>{records.length === 0 ? "Nothing has been recorded yet." : "None of what is loaded fits these filters."}</Empty>
            ) : (
              <ul class="list audit">
                {shown.map((record) => (
                  <Row key={record.name} record={record} />
                ))}
              </ul>
            )
          }
        </Answer>
        <div ref={end} class="fine">
          {more && "Older ones are loaded as you scroll."}
        </div>
      </Panel>
    </Page>
  );
}

function fits(record: AuditRecord, text: string, decision: string): boolean {
  if (decision && (decision === "denied") !== (record.decision === AuditDecision.DENIED)) return false;
  if (!text) return true;
  return [record.principal, record.method, record.resource, record.reason, record.requestId].some((part) => part.toLowerCase().includes(text));
}

function Row({ record }: { record: AuditRecord }) {
  const denied = record.decision === AuditDecision.DENIED;
  const { kind, facts, phase } = changeOf(record);
  const run = parts(record.resource)["runs"];
  return (
    <li>
      <details>
        <summary data-row="">
          <strong>{lastPart(record.method) || kind}</strong>
          {denied && <Badge tone="bad">denied</Badge>}
          <span class="mono grow quiet">
            {record.resource ? shortName(record.resource) : ""}
            {run && ` run ${shortUid(run)}`}
            {phase && ` ${phase}`}
          </span>
          <Person principal={record.principal} />
          <span class="when">
            <Ago time={record.time} />
          </span>
          <Icon name="down" />
        </summary>
        <dl class="facts wide">
          {record.resource && (
            <Fact name="Resource">
              <Resource name={record.resource} />
            </Fact>
          )}
          <Fact name="Who">{record.principal}</Fact>
          {record.proof && (
            <Fact name="Proven by">
              {record.proof} from {record.sourceAddress}
            </Fact>
          )}
          {kind && <Fact name="Event">{kind}</Fact>}
          {record.permission && (
            <Fact name="Permission">
              <code>{record.permission}</code>
            </Fact>
          )}
          {record.reason && <Fact name="Reason">{record.reason}</Fact>}
          {record.requestId && (
            <Fact name="Request">
              <Copy text={record.requestId} what="request id" />
            </Fact>
          )}
          {record.receiptDigest && (
            <Fact name="Receipt">
              <Copy text={record.receiptDigest} what="digest of the receipt" />
            </Fact>
          )}
        </dl>
        {facts !== "" && (
          <pre class="code" tabIndex={0} aria-label="What changed">
            {facts}
          </pre>
        )}
      </details>
    </li>
  );
}

/** What changed: the kind of the event, and its facts; of a run that has moved also where to. */
function changeOf({ change }: AuditRecord): { kind: string; facts: string; phase: string } {
  const [, kind = "", json = ""] = /^([\w.]*) ?(.*)$/s.exec(change) ?? [];
  try {
    const facts = JSON.parse(json) as Record<string, unknown>;
    const phase = [facts["phase"], facts["outcome"]].filter((part) => typeof part === "string").join(" ");
    return { kind, facts: Object.keys(facts).length > 0 ? JSON.stringify(facts, null, 2) : "", phase };
  } catch {
    return { kind, facts: json, phase: "" };
  }
}
