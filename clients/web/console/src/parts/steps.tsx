import { ChangeAction, type Run, StepState } from "@freehold/client/gen/freehold/deployments/v1/run_pb";

import { ms, word } from "../lib/format.js";
import type { Tone } from "./icons.jsx";
import { Elapsed } from "./times.jsx";
import { Badge } from "./ui.jsx";

const TONES: Partial<Record<StepState, Tone>> = {
  [StepState.STARTED]: "work",
  [StepState.DONE]: "good",
  [StepState.FAILED]: "bad",
  [StepState.UNKNOWN]: "bad",
};

/** The steps of an apply, as they go on. */
export function Steps({ run }: { run: Run }) {
  const done = run.steps.filter((step) => step.state === StepState.DONE).length;
  return (
    <>
      <p class="fine" role="status">
        {done} of {run.steps.length} done
      </p>
      <table class="steps">
        <thead class="hidden">
          <tr>
            <th scope="col">Resource</th>
            <th scope="col">Action</th>
            <th scope="col">State</th>
            <th scope="col">Time</th>
          </tr>
        </thead>
        <tbody>
          {run.steps.map((step, index) => (
            <tr key={index}>
              <th scope="row" class="mono">
                {step.address}
                {step.error && <p class="fine">{step.error}</p>}
              </th>
              <td>{word(ChangeAction, step.action)}</td>
              <td>
                <Badge tone={TONES[step.state] ?? "idle"}>{word(StepState, step.state)}</Badge>
              </td>
              <td class="number">
                <Elapsed from={ms(step.startTime)} to={ms(step.endTime) ?? ms(run.endTime)} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}
