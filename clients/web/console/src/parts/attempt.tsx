import type { WebhookAttempt } from "@freehold/client/gen/freehold/integrations/v1/webhook_endpoint_pb";

import { duration } from "../lib/format.js";
import { attemptVerdict, isMasked, pretty } from "../lib/integrations.js";
import { Icon } from "./icons.jsx";
import { Ago } from "./times.jsx";
import { Badge, Prose } from "./ui.jsx";

/** What came of one try: the answer with its headers, of some the name only, or why there is none. */
export function Attempt({ attempt }: { attempt: WebhookAttempt }) {
  const { word, tone } = attemptVerdict(attempt);
  const headers = Object.entries(attempt.responseHeaders).sort(([a], [b]) => a.localeCompare(b));
  const masked = headers.filter(([, value]) => isMasked(value)).map(([name]) => name);
  return (
    <div class="attempt">
      <p>
        <Badge tone={tone}>{word}</Badge> <Ago time={attempt.time} /> <span class="quiet">after {duration(attempt.durationMs)}</span>
      </p>
      {attempt.error && (
        <p class="fault">
          <Prose text={attempt.error} />
        </p>
      )}
      {headers.length > 0 && (
        <table class="values" aria-label="Headers of the answer">
          <tbody>
            {headers
              .filter(([, value]) => !isMasked(value))
              .map(([name, value]) => (
                <tr key={name}>
                  <th scope="row" class="mono">
                    {name}
                  </th>
                  <td class="mono">{value}</td>
                </tr>
              ))}
            {masked.length > 0 && (
              <tr>
                <th scope="row">
                  <Icon name="lock" /> masked
                </th>
                <td class="mono quiet">{masked.join(", ")}</td>
              </tr>
            )}
          </tbody>
        </table>
      )}
      {attempt.responseBody && (
        <pre class="code" tabIndex={0} aria-label="Begin of the answer">
          {pretty(attempt.responseBody)}
        </pre>
      )}
    </div>
  );
}
