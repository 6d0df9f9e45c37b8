import { type WebhookDelivery, WebhookDeliveryState } from "@freehold/client/gen/freehold/integrations/v1/webhook_endpoint_pb";
import { useEffect } from "preact/hooks";

import { useAct } from "../lib/act.js";
import { api, given } from "../lib/api.js";
import { count } from "../lib/format.js";
import { DELIVERY_STATES, attemptVerdict, deliveryVerdict, nextLook, pretty } from "../lib/integrations.js";
import { onChange } from "../lib/live.js";
import { lastPart, shortName } from "../lib/names.js";
import { usePaged } from "../lib/paged.js";
import { useQuery } from "../lib/query.js";
import { setQuery, usePlace } from "../lib/router.jsx";
import { Attempt } from "./attempt.jsx";
import { Icon } from "./icons.jsx";
import { Ago } from "./times.jsx";
import { Answer, Badge, Copy, Empty, ErrorView, Fact, Panel, Resource } from "./ui.jsx";

const PAGE = 50;
/** Until when the deliveries of an event are made, in milliseconds. */
const LATER = 1_500;

/** What is sent to an endpoint, newest first. The state that is looked for and the delivery that is open are in the address. */
export function Deliveries({ endpoint, tested }: { endpoint: string; tested: () => void }) {
  const { query } = usePlace();
  const chosen = query.get("state") ?? "";
  const open = query.get("delivery") ?? "";
  const tenant = endpoint.split("/").slice(0, 2).join("/");
  const state = DELIVERY_STATES[chosen] ?? WebhookDeliveryState.UNSPECIFIED;
  const { first, items, more, end } = usePaged(
    `deliveries:${endpoint}:${state}`,
    async (pageToken) => {
      const page = await api.webhooks.listWebhookDeliveries({ parent: endpoint, state, pageSize: PAGE, pageToken });
      return { items: page.webhookDeliveries, nextPageToken: page.nextPageToken };
    },
    // Whatever happens in the tenant may be a delivery.
    [tenant],
  );
  useLooks(items, first.data, first.reload);
  useSecondLook(tenant, first.reload);
  const elsewhere = open && first.data && !items.some(({ name }) => lastPart(name) === open);
  return (
    <Panel title="Deliveries" note={more ? `newest ${items.length}` : items.length}>
      <form class="filters" onSubmit={(event) => event.preventDefault()}>
        <select aria-label="State of the deliveries" value={chosen} onChange={(event) => setQuery({ state: event.currentTarget.value })}>
          <option value="">any state</option>
          <option value="pending">pending only</option>
          <option value="delivered">delivered only</option>
          <option value="failed">given up only</option>
        </select>
      </form>
      <Answer query={first}>
        {() =>
          items.length === 0 && !elsewhere ? (
            chosen ? (
              <Empty>None is in this state.</Empty>
            ) : (
              <Empty cli={`freehold webhook test ${lastPart(endpoint)}`}>
                Nothing has been sent yet. The next event that it wants is its first delivery;{" "}
                <button type="button" class="button small" onClick={tested}>
                  send a test
                </button>{" "}
                to see whether it is reached, or:
              </Empty>
            )
          ) : (
            <ul class="list audit">
              {elsewhere && <Elsewhere name={`${endpoint}/deliveries/${open}`} />}
              {items.map((delivery) => (
                <Row key={delivery.name} delivery={delivery} open={lastPart(delivery.name) === open} />
              ))}
            </ul>
          )
        }
      </Answer>
      <div ref={end} class="fine">
        {more ? "Older ones are loaded as you scroll." : "They are kept for seven days after they are over."}
      </div>
    </Panel>
  );
}

/** Asks again a moment after something has happened: an event is there before its deliveries are. */
function useSecondLook(tenant: string, reload: () => void): void {
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const forget = onChange([tenant], () => {
      clearTimeout(timer);
      timer = setTimeout(reload, LATER);
    });
    return () => {
      clearTimeout(timer);
      forget();
    };
  }, [tenant, reload]);
}

/** Asks again when a try is due: tries are no events. */
function useLooks(deliveries: readonly WebhookDelivery[], answer: unknown, reload: () => void): void {
  useEffect(() => {
    const soon = nextLook(deliveries, Date.now());
    if (soon === undefined) return;
    const timer = setTimeout(reload, soon);
    return () => clearTimeout(timer);
  }, [answer]);
}

/** The delivery that the address names, when it is not among those that are listed. */
function Elsewhere({ name }: { name: string }) {
  const delivery = useDelivery(name);
  return <Answer query={delivery}>{(found) => <Row delivery={found} open />}</Answer>;
}

function useDelivery(name: string) {
  const delivery = useQuery(`delivery:${name}`, async () => given((await api.webhooks.getWebhookDelivery({ name })).webhookDelivery), []);
  useLooks(delivery.data ? [delivery.data] : [], delivery.data, delivery.reload);
  return delivery;
}

function Row({ delivery, open }: { delivery: WebhookDelivery; open: boolean }) {
  const { word, tone } = deliveryVerdict(delivery);
  const last = delivery.attempts.at(-1);
  return (
    <li>
      <details open={open}>
        <summary
          data-row=""
          onClick={(event) => {
            event.preventDefault();
            setQuery({ delivery: open ? undefined : lastPart(delivery.name) });
          }}
        >
          <strong>{delivery.kind}</strong>
          <Badge tone={tone}>{word}</Badge>
          <span class="mono grow quiet">{shortName(delivery.resource)}</span>
          <span class="quiet number">{last ? `${attemptVerdict(last).word}, ${count(delivery.attemptCount, "try", "tries")}` : "not tried yet"}</span>
          <span class="when">
            <Ago time={delivery.createTime} />
          </span>
          <Icon name="down" />
        </summary>
        {open && <Opened name={delivery.name} listed={delivery} />}
      </details>
    </li>
  );
}

/** A delivery with everything about it. */
function Opened({ name, listed }: { name: string; listed: WebhookDelivery }) {
  const query = useDelivery(name);
  const again = useAct();
  const delivery = query.data ?? listed;
  const redeliver = () =>
    again.run(async () => {
      await api.webhooks.redeliverWebhook({ name });
      query.reload();
    });
  const tries = [...delivery.attempts].reverse();
  return (
    <div class="delivery">
      <dl class="facts wide">
        <Fact name="About">
          <Resource name={delivery.resource}>{shortName(delivery.resource)}</Resource>
        </Fact>
        {delivery.event && (
          <Fact name="Event, sent as webhook-id">
            <Copy text={delivery.event} what="uid of the event" />
          </Fact>
        )}
        <Fact name="Tried">{delivery.attemptCount === 0 ? "not yet" : count(delivery.attemptCount, "time")}</Fact>
        <Fact name="Next try">{delivery.nextAttemptTime ? <Ago time={delivery.nextAttemptTime} /> : "none, it is over"}</Fact>
      </dl>
      {query.error && <ErrorView error={query.error} retry={query.reload} />}
      {again.error && <ErrorView error={again.error} />}
      <p>
        <button type="button" class="button" disabled={again.busy} onClick={redeliver} title="Sends it again under the same webhook-id, whatever has become of it">
          {again.busy ? "Redelivering…" : "Redeliver"}
        </button>
      </p>
      <div class="columns">
        <section aria-label="What is sent">
          <h3>What is sent</h3>
          <pre class="code" tabIndex={0} aria-label="Body of the request">
            {pretty(delivery.body)}
          </pre>
        </section>
        <section aria-label="Tries">
          <h3>{delivery.attemptCount > tries.length ? `Tries, the last ${tries.length}` : "Tries"}</h3>
          {tries.length === 0 ? (
            <p class="quiet">Not tried yet.</p>
          ) : (
            <ol class="attempts">
              {tries.map((attempt, index) => (
                <li key={delivery.attemptCount - index}>
                  <Attempt attempt={attempt} />
                </li>
              ))}
            </ol>
          )}
        </section>
      </div>
    </div>
  );
}
