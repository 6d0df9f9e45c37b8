import type { Run } from "@freehold/client/gen/freehold/deployments/v1/run_pb";

import { type StageState, stages } from "../lib/phases.js";
import type { Tone } from "./icons.jsx";
import { Shape } from "./icons.jsx";
import { Elapsed } from "./times.jsx";

const TONES: Record<StageState, Tone> = { done: "good", now: "work", waits: "wait", failed: "bad", next: "idle", skipped: "idle" };
const WORDS: Record<StageState, string> = { done: "done", now: "under way", waits: "waits", failed: "ended here", next: "to come", skipped: "left out" };

/** The parts of a run in a line, with how long each took. */
export function PhaseLine({ run, planned }: { run: Run; planned: number | undefined }) {
  return (
    <ol class="phases" aria-label="Phases">
      {stages(run, planned).map((stage) => (
        <li key={stage.name} class={stage.state} aria-current={stage.state === "now" || stage.state === "waits" ? "step" : undefined}>
          <Shape tone={TONES[stage.state]} />
          <span class="phase-name">{stage.name}</span>
          <span class="phase-time">
            {stage.from !== undefined && (stage.to !== undefined || stage.state === "now" || stage.state === "waits") ? (
              <Elapsed from={stage.from} to={stage.to} />
            ) : (
              WORDS[stage.state]
            )}
            <span class="hidden"> {WORDS[stage.state]}</span>
          </span>
        </li>
      ))}
    </ol>
  );
}
