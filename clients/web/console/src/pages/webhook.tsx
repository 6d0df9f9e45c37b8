import { type WebhookAttempt, type WebhookEndpoint, WebhookEndpointState } from "@freehold/client/gen/freehold/integrations/v1/webhook_endpoint_pb";
import { useState } from "preact/hooks";

import { useAct } from "../lib/act.js";
import { api, given } from "../lib/api.js";
import { endpointVerdict } from "../lib/integrations.js";
import { lastPart, parts } from "../lib/names.js";
import { useQuery } from "../lib/query.js";
import { Attempt } from "../parts/attempt.jsx";
import { Deliveries } from "../parts/deliveries.jsx";
import { SecretOnce } from "../parts/secret.jsx";
import { Ago } from "../parts/times.jsx";
import { Answer, Badge, Copy, ErrorView, Fact, Page, Panel, Person, Prose, Resource } from "../parts/ui.jsx";

/** Does it arrive, and what was answered? */
export function WebhookPage({ name }: { name: string }) {
  const endpoint = useQuery(`webhook:${name}`, async () => given((await api.webhooks.getWebhookEndpoint({ name })).webhookEndpoint), [name]);
  const [attempt, setAttempt] = useState<WebhookAttempt>();
  const [asked, setAsked] = useState<"rotate" | "disable">();
  const [secret, setSecret] = useState("");
  const act = useAct();
  const { tenants = "" } = parts(name);
  const { data } = endpoint;
  const disabled = data?.state === WebhookEndpointState.DISABLED;
  const verdict = data && endpointVerdict(data);

  const test = () =>
    act.run(async () => {
      setAttempt(undefined);
      setAttempt((await api.webhooks.sendTestWebhook({ name })).attempt);
    });
  const set = (state: WebhookEndpointState) =>
    act.run(async () => {
      await api.webhooks.updateWebhookEndpoint({ webhookEndpoint: { name, state }, updateMask: { paths: ["state"] } });
      setAsked(undefined);
      endpoint.reload();
    });
  const rotate = (hours: number) =>
    act.run(async () => {
      const answer = await api.webhooks.rotateWebhookSecret({ name, grace: { seconds: BigInt(hours * 3_600) } });
      setSecret(answer.secret);
      setAsked(undefined);
      endpoint.reload();
    });

  return (
    <Page
      kind="Webhook"
      title={data?.displayName || lastPart(name)}
      crumbs={[
        { text: tenants, to: `/t/${tenants}` },
        { text: "Webhooks", to: `/t/${tenants}/webhooks` },
      ]}
      badge={verdict && <Badge tone={verdict.tone}>{verdict.word}</Badge>}
      actions={
        data && (
          <>
            {disabled ? (
              <button type="button" class="button" disabled={act.busy} onClick={() => set(WebhookEndpointState.ENABLED)} title="Sends what happens from now on">
                Enable
              </button>
            ) : (
              <button type="button" class="button" disabled={act.busy} aria-expanded={asked === "disable"} onClick={() => setAsked(asked === "disable" ? undefined : "disable")}>
                Disable…
              </button>
            )}
            <button type="button" class="button" disabled={act.busy} aria-expanded={asked === "rotate"} onClick={() => setAsked(asked === "rotate" ? undefined : "rotate")}>
              Rotate the secret…
            </button>
            <button type="button" class="button primary" disabled={act.busy} onClick={test} title="Sends an event that means nothing, at once">
              Send a test
            </button>
          </>
        )
      }
    >
      <Answer query={endpoint}>
        {(found) => (
          <>
            <p class="lead">
              <Copy text={found.url} what="address" />
            </p>
            {found.state === WebhookEndpointState.DISABLED && (
              <p class="notice">
                <span>
                  Disabled <Ago time={found.disableTime} />. <Prose text={found.disableReason} /> What happens meanwhile is not sent later.
                </span>
              </p>
            )}
            {found.failingSince && (
              <p class="notice">
                <span>
                  Every delivery has failed since <Ago time={found.failingSince} />. After three days of that it is disabled.
                </span>
              </p>
            )}
            {act.error && <ErrorView error={act.error} />}
            {asked === "disable" && (
              <Panel title="Disable it">
                <p>What is on its way is given up, and what happens while it is disabled is not sent later.</p>
                <p class="actions">
                  <button type="button" class="button grave" disabled={act.busy} onClick={() => set(WebhookEndpointState.DISABLED)}>
                    Disable
                  </button>
                </p>
              </Panel>
            )}
            {asked === "rotate" && <Rotate busy={act.busy} rotate={rotate} />}
            {secret && <SecretOnce key={secret} secret={secret} />}
            {attempt && (
              <Panel title="What came of the test">
                <div role="status">
                  <Attempt attempt={attempt} />
                </div>
              </Panel>
            )}
            <Facts endpoint={found} />
            <Deliveries endpoint={name} tested={test} />
          </>
        )}
      </Answer>
    </Page>
  );
}

function Rotate({ busy, rotate }: { busy: boolean; rotate: (hours: number) => void }) {
  const [hours, setHours] = useState("24");
  return (
    <Panel title="A new secret">
      <form
        class="filters"
        onSubmit={(event) => {
          event.preventDefault();
          rotate(Number(hours));
        }}
      >
        <label class="stacked">
          <span>The one before signs as well for</span>
          <select value={hours} onChange={(event) => setHours(event.currentTarget.value)}>
            <option value="1">an hour</option>
            <option value="24">a day</option>
            <option value="168">seven days</option>
          </select>
        </label>
        <div class="actions">
          <button type="submit" class="button primary" disabled={busy}>
            Make a new secret
          </button>
        </div>
      </form>
      <p class="fine">The receiver can change over at any moment in between; until then deliveries have two signatures.</p>
    </Panel>
  );
}

function Facts({ endpoint }: { endpoint: WebhookEndpoint }) {
  const tenant = endpoint.name.split("/").slice(0, 2).join("/");
  return (
    <Panel title="What it wants">
      <dl class="facts wide">
        <Fact name="Kinds">
          {endpoint.kinds.length === 0
            ? "every kind of event"
            : endpoint.kinds.map((kind) => (
                <span key={kind}>
                  <code>{kind}</code>{" "}
                </span>
              ))}
        </Fact>
        <Fact name="Below">
          <Resource name={endpoint.below || tenant}>{!endpoint.below || endpoint.below === tenant ? "the whole tenant" : endpoint.below}</Resource>
        </Fact>
        <Fact name="Filter">{endpoint.filter ? <code>{endpoint.filter}</code> : "none"}</Fact>
        <Fact name="Order">{endpoint.ordered ? "one after the other; a failure holds up the next" : "as they come; a failure holds up no other"}</Fact>
        {endpoint.previousSecretExpireTime && (
          <Fact name="The secret before signs until">
            <Ago time={endpoint.previousSecretExpireTime} />
          </Fact>
        )}
        {endpoint.caBundle && <Fact name="Authority of its own">given</Fact>}
        <Fact name="Created">
          <Ago time={endpoint.createTime} /> by <Person principal={endpoint.createPrincipal} />
        </Fact>
        <Fact name="Changed">
          <Ago time={endpoint.updateTime} />
        </Fact>
        {Object.entries(endpoint.labels).map(([key, value]) => (
          <Fact key={key} name={key}>
            {value}
          </Fact>
        ))}
        <Fact name="Name">
          <Copy text={endpoint.name} what="name">
            {lastPart(endpoint.name)}
          </Copy>
        </Fact>
      </dl>
    </Panel>
  );
}
