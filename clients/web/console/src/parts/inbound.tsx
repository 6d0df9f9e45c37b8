import { Code } from "@connectrpc/connect";
import type { InboundMessage } from "@freehold/client/gen/freehold/integrations/v1/connection_pb";
import { toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { useState } from "preact/hooks";

import { useAct } from "../lib/act.js";
import { all, api, given } from "../lib/api.js";
import { messageVerdict } from "../lib/integrations.js";
import { lastPart } from "../lib/names.js";
import { useQuery } from "../lib/query.js";
import { Icon } from "./icons.jsx";
import { Ago } from "./times.jsx";
import { Answer, Badge, Copy, Empty, ErrorView, Fact, Panel, Prose } from "./ui.jsx";

/** As many as a page can show; the server lists the oldest first. */
const MOST = 2_000;

/** What a system called for, newest first. Who may not see it is told so quietly. */
export function InboundMessages({ connection }: { connection: string }) {
  const messages = useQuery(
    `inbound:${connection}`,
    async () => {
      const list = await all(async (pageToken) => {
        const page = await api.connections.listInboundMessages({ parent: connection, pageSize: 500, pageToken });
        return { items: page.inboundMessages, nextPageToken: page.nextPageToken };
      }, MOST);
      return list.reverse();
    },
    [connection],
  );
  const id = lastPart(connection);
  const denied = messages.error?.code === Code.PermissionDenied;
  return (
    <Panel title="What it called for" note={messages.data && (messages.data.length >= MOST ? `the oldest ${MOST}` : messages.data.length)}>
      {denied ? (
        <p class="quiet">
          You may not see these: that takes <code>integrations.inboundMessages.list</code>, which viewers and administrators of the tenant have.
        </p>
      ) : (
        <Answer query={messages}>
          {(list) =>
            list.length === 0 ? (
              <Empty cli={`freehold connection messages ${id}`}>Nothing has come yet. Messages are kept for 30 days.</Empty>
            ) : (
              <ul class="list audit">
                {list.map((message) => (
                  <Row key={message.name} message={message} />
                ))}
              </ul>
            )
          }
        </Answer>
      )}
    </Panel>
  );
}

function Row({ message }: { message: InboundMessage }) {
  const { word, tone } = messageVerdict(message.state);
  return (
    <li>
      <details>
        <summary data-row="">
          <strong>{message.kind || "message"}</strong>
          <Badge tone={tone}>{word}</Badge>
          <span class="mono grow quiet">{message.deliveryId}</span>
          <span class="when">
            <Ago time={message.receiveTime} />
          </span>
          <Icon name="down" />
        </summary>
        <div class="delivery">
          <dl class="facts wide">
            <Fact name="Delivery">
              <Copy text={message.deliveryId} what="id of the delivery" />
            </Fact>
            <Fact name="SHA-256 of what was signed">
              <Copy text={message.digest} what="digest">
                {message.digest.slice(0, 12)}
              </Copy>
            </Fact>
          </dl>
          {message.error && (
            <p class="fault">
              <Prose text={message.error} />
            </p>
          )}
          <Payload name={message.name} />
        </div>
      </details>
    </li>
  );
}

/** What the system said. It is asked for only when somebody wants it, because that it was read is kept. */
function Payload({ name }: { name: string }) {
  const [text, setText] = useState<string>();
  const act = useAct();
  const read = () =>
    act.run(async () => {
      const { payload } = given((await api.connections.getInboundMessage({ name })).inboundMessage);
      setText(payload ? JSON.stringify(toJson(ValueSchema, payload), null, 2) : "");
    });
  if (text !== undefined)
    return (
      <pre class="code" tabIndex={0} aria-label="Payload">
        {text || "It is empty."}
      </pre>
    );
  return (
    <>
      {act.error && <ErrorView error={act.error} />}
      <p>
        <button type="button" class="button small" disabled={act.busy} onClick={read}>
          Show the payload
        </button>{" "}
        <span class="fine">That you have read it is kept in the audit trail.</span>
      </p>
    </>
  );
}
