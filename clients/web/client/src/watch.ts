import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type Transport, createClient } from "@connectrpc/connect";

import { type FollowOptions, follow } from "./follow.js";
import { type Event, EventService, type WatchEventsRequestSchema, type WatchEventsResponse } from "./gen/freehold/events/v1/event_service_pb.js";

/** Events of which it is remembered that they were seen: more than can be sent twice after a lost connection. */
const REMEMBERED = 4_096;

/** What to watch, and from where. */
export interface WatchOptions extends FollowOptions {
  /** A resource by its name, with all below it; the whole installation unless it is set. */
  parent?: string;
  /** Kinds wanted, `run.created` or `run.*`; all unless it is set. */
  kinds?: string[];
  /** A CEL expression over `event`. */
  filter?: string;
  /** Where to begin: after this token, or at this time. Now, unless one is set. */
  resumeToken?: string;
  startTime?: Date;
}

/** What a watch tells. */
export type WatchItem =
  | {
      readonly type: "event";
      readonly event: Event;
      /** Goes on after this event; absent before the first token is known. Keep it once the event has been dealt with. */
      readonly resumeToken: string | undefined;
    }
  | {
      /** From here on nothing is missed, but something may have happened before: read anew what you show. */
      readonly type: "resync";
      /** It has just begun; the token was too old; or the connection was lost before there was a token. */
      readonly why: "begun" | "expired" | "lost";
      readonly resumeToken: string;
    };

/**
 * Watches what happens, until the signal is aborted or another try is useless: no permission, no such parent, a server without the
 * service (`Code.Unimplemented`). Ends of the stream, lost connections, restarts of the server and an hour of sleep are gone through
 * with the last token, and nobody sees an event twice. Where that is not possible there is a `resync`, as there is at a begin without
 * a token or a time:
 *
 * ```ts
 * for await (const item of freehold.watch({ parent: "tenants/acme", kinds: ["run.*"], signal })) {
 *   if (item.type === "resync") await reload();
 *   else changed(item.event.resource);
 * }
 * ```
 */
export async function* watch(transport: Transport, options: WatchOptions = {}): AsyncGenerator<WatchItem, void, undefined> {
  const client = createClient(EventService, transport);
  const seen = new Seen();
  let token = options.resumeToken;
  let start = options.startTime;
  let resync: "begun" | "expired" | "lost" | undefined = token === undefined && !start ? "begun" : undefined;

  const messages = follow<WatchEventsResponse>(
    {
      open(signal) {
        return client.watchEvents(request(options, token, start), { signal });
      },
      // It ends when the server drains and when its time is over; neither is the end of what happens.
      finished: () => false,
      recovers(error) {
        if (error.reason !== "RESUME_TOKEN_EXPIRED") return false;
        [token, start, resync] = [undefined, undefined, "expired"];
        return true;
      },
    },
    {
      ...options,
      onState(state, error) {
        if (state === "lost" && token === undefined && !start) resync ??= "lost";
        options.onState?.(state, error);
      },
    },
  );
  for await (const message of messages) {
    const before = token;
    if (resync) {
      yield { type: "resync", why: resync, resumeToken: message.resumeToken };
      resync = undefined;
    }
    for (const [index, event] of message.events.entries()) {
      const last = index === message.events.length - 1;
      if (seen.first(event.uid)) yield { type: "event", event, resumeToken: last ? message.resumeToken : before };
    }
    token = message.resumeToken;
  }
}

function request(
  { parent = "", kinds = [], filter = "" }: WatchOptions,
  token: string | undefined,
  start: Date | undefined,
): MessageInitShape<typeof WatchEventsRequestSchema> {
  const place = { parent, kinds, filter };
  if (token !== undefined) return { ...place, start: { case: "resumeToken", value: token } };
  if (start) return { ...place, start: { case: "startTime", value: timestampFromDate(start) } };
  return place;
}

/** Remembers the uids of the last events. */
class Seen {
  private readonly uids = new Set<string>();

  first(uid: string): boolean {
    if (this.uids.has(uid)) return false;
    this.uids.add(uid);
    if (this.uids.size > REMEMBERED) {
      const [oldest] = this.uids;
      if (oldest !== undefined) this.uids.delete(oldest);
    }
    return true;
  }
}
