import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { Copy, Panel } from "./ui.jsx";

/** A secret that the server shows once. It is in no address and in no storage; it goes with this page. */
export function SecretOnce({ secret, children }: { secret: string; children?: ComponentChildren }) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => box.current?.focus(), []);
  return (
    <Panel title="Its secret" class="secret">
      <div ref={box} tabIndex={-1} role="status">
        <p>Deliveries are signed with it, and the receiver proves them by it. It is shown this once: copy it now.</p>
        <div class="cli bare">
          <Copy text={secret} what="secret">
            <span class="value">{secret}</span>
          </Copy>
        </div>
      </div>
      {children}
    </Panel>
  );
}
