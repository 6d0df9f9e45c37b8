import { type Connection, type ConnectionCheck, ConnectionManager, ConnectionState } from "@freehold/client/gen/freehold/integrations/v1/connection_pb";
import { useState } from "preact/hooks";

import { useAct } from "../lib/act.js";
import { api, given } from "../lib/api.js";
import { amount } from "../lib/format.js";
import { breakerVerdict, checkVerdict, connectionVerdict, nextStep } from "../lib/integrations.js";
import { lastPart, parts } from "../lib/names.js";
import { useQuery } from "../lib/query.js";
import { InboundMessages } from "../parts/inbound.jsx";
import { Ago } from "../parts/times.jsx";
import { Answer, Badge, Cli, Copy, Empty, ErrorView, Fact, Page, Panel, Person, Prose } from "../parts/ui.jsx";

/** Does it work? */
export function ConnectionPage({ name }: { name: string }) {
  const connection = useQuery(`connection:${name}`, async () => given((await api.connections.getConnection({ name })).connection), [name]);
  const [asked, setAsked] = useState(false);
  const act = useAct();
  const { tenants = "" } = parts(name);
  const { data } = connection;
  const verdict = data && connectionVerdict(data);

  const test = () =>
    act.run(async () => {
      await api.connections.testConnection({ name });
      connection.reload();
    });
  const enable = () =>
    act.run(async () => {
      await api.connections.enableConnection({ name });
      connection.reload();
    });
  const disable = (reason: string) =>
    act.run(async () => {
      await api.connections.disableConnection({ name, reason });
      setAsked(false);
      connection.reload();
    });

  return (
    <Page
      kind="Connection"
      title={data?.displayName || lastPart(name)}
      crumbs={[
        { text: tenants, to: `/t/${tenants}` },
        { text: "Connections", to: `/t/${tenants}/connections` },
      ]}
      badge={
        verdict && (
          <>
            <Badge tone={verdict.tone}>{verdict.word}</Badge>
            {data.dryRun && <Badge tone="wait">dry run</Badge>}
          </>
        )
      }
      actions={
        data && (
          <>
            {data.state === ConnectionState.DISABLED ? (
              <button type="button" class="button" disabled={act.busy} onClick={enable}>
                Enable
              </button>
            ) : (
              <button type="button" class="button" disabled={act.busy} aria-expanded={asked} onClick={() => setAsked(!asked)}>
                Disable…
              </button>
            )}
            <button type="button" class="button primary" disabled={act.busy} onClick={test} title="Asks the system who we are and whether that suffices">
              {act.busy ? "Asking…" : "Test"}
            </button>
          </>
        )
      }
    >
      <Answer query={connection}>
        {(found) => (
          <>
            <p class="lead">
              Speaks with <code>{found.connector}</code>
              {found.managedBy === ConnectionManager.ENVIRONMENT && <> · the environment of the server decides about it, calls do not change it</>}
            </p>
            {found.state === ConnectionState.DISABLED && (
              <p class="notice">
                <span>
                  Disabled <Ago time={found.disableTime} />. <Prose text={found.disableReason} /> Nothing goes out over it and nothing comes in.
                </span>
              </p>
            )}
            {found.dryRun && <p class="notice">Nothing is changed over it: each call only says what would be sent.</p>}
            {act.error && <ErrorView error={act.error} />}
            {asked && <Disable busy={act.busy} disable={disable} />}
            <div class="columns">
              <Check check={found.lastCheck} name={name} />
              <Health connection={found} />
            </div>
            <div class="columns">
              <Panel title="Settings">
                <pre class="code" tabIndex={0} aria-label="Settings as JSON">
                  {JSON.stringify(found.settings ?? {}, null, 2)}
                </pre>
              </Panel>
              <Credentials connection={found} />
            </div>
            {found.inboundPath && (
              <Panel title="Where the system calls">
                <p>
                  <Copy text={location.origin + found.inboundPath} what="address" />
                </p>
                <p class="fine">Give it to the system as the address of its webhook. A call is proven by the connection's credential before it is kept.</p>
              </Panel>
            )}
            {found.inboundPath && <InboundMessages connection={name} />}
            <Facts connection={found} />
          </>
        )}
      </Answer>
    </Page>
  );
}

function Disable({ busy, disable }: { busy: boolean; disable: (reason: string) => void }) {
  const [reason, setReason] = useState("");
  return (
    <Panel title="Disable it">
      <p>Nothing goes out over it and nothing comes in, until it is enabled.</p>
      <form
        class="filters"
        onSubmit={(event) => {
          event.preventDefault();
          disable(reason);
        }}
      >
        <input type="text" aria-label="Why" placeholder="Why, for whoever finds it disabled" value={reason} onInput={(event) => setReason(event.currentTarget.value)} />
        <div class="actions">
          <button type="submit" class="button grave" disabled={busy}>
            Disable
          </button>
        </div>
      </form>
    </Panel>
  );
}

function Check({ check, name }: { check: ConnectionCheck | undefined; name: string }) {
  const { word, tone } = checkVerdict(check);
  return (
    <Panel title="Last test" note={check && <Ago time={check.checkTime} />}>
      {check ? (
        <div role="status">
          <p>
            <Badge tone={tone}>{word}</Badge>
          </p>
          <p>
            <Prose text={check.detail} />
          </p>
          {!check.ok && <p class="quiet">{nextStep(check)}</p>}
          <dl class="facts wide">
            {check.identity && <Fact name="It takes us for">{check.identity}</Fact>}
            {check.scopes.length > 0 && <Fact name="It lets us">{check.scopes.join(", ")}</Fact>}
            {check.version && <Fact name="Its version">{check.version}</Fact>}
          </dl>
        </div>
      ) : (
        <Empty cli={`freehold connection test ${lastPart(name)}`}>It was never tested. A test asks the system who we are:</Empty>
      )}
    </Panel>
  );
}

function Health({ connection: { health } }: { connection: Connection }) {
  const breaker = health && breakerVerdict(health.breakerState);
  return (
    <Panel title="Health" note="as the replica that answered sees it">
      {breaker ? (
        <dl class="facts wide">
          <Fact name="After failures">
            <Badge tone={breaker.tone}>{breaker.word}</Badge>
          </Fact>
          <Fact name="Calls left">{health.remainingCalls === undefined ? "the system does not say" : amount(health.remainingCalls)}</Fact>
          <Fact name="Under way">{amount(health.inFlight)}</Fact>
          <Fact name="Waiting for their turn">{amount(health.waiting)}</Fact>
        </dl>
      ) : (
        <p class="quiet">This replica has not used it yet.</p>
      )}
    </Panel>
  );
}

function Credentials({ connection }: { connection: Connection }) {
  const id = lastPart(connection.name);
  const slots = connection.credentialSlots;
  return (
    <Panel title="Credentials" note={slots.length}>
      {slots.length > 0 && (
        <table class="values">
          <thead class="hidden">
            <tr>
              <th scope="col">Slot</th>
              <th scope="col">Set</th>
            </tr>
          </thead>
          <tbody>
            {slots.map((slot) => (
              <tr key={slot.slot}>
                <th scope="row" class="mono">
                  {slot.slot}
                </th>
                <td>
                  set <Ago time={slot.setTime} />
                  {slot.expireTime && (
                    <span class="quiet">
                      , counts until <Ago time={slot.expireTime} />
                    </span>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {slots.length === 0 && <p class="quiet">No slot is filled.</p>}
      {connection.managedBy !== ConnectionManager.ENVIRONMENT && (
        <>
          <p class="fine">Nobody reads their values again. This replaces one:</p>
          <Cli line={`freehold connection rotate ${id} --credential-file ${slots[0]?.slot ?? "SLOT"}=FILE`} />
        </>
      )}
    </Panel>
  );
}

function Facts({ connection }: { connection: Connection }) {
  return (
    <Panel title="Facts">
      <dl class="facts wide">
        <Fact name="Created">
          <Ago time={connection.createTime} /> by <Person principal={connection.createPrincipal} />
        </Fact>
        <Fact name="Changed">
          <Ago time={connection.updateTime} />
        </Fact>
        {Object.entries(connection.labels).map(([key, value]) => (
          <Fact key={key} name={key}>
            {value}
          </Fact>
        ))}
        <Fact name="Name">
          <Copy text={connection.name} what="name">
            {lastPart(connection.name)}
          </Copy>
        </Fact>
      </dl>
    </Panel>
  );
}
