import { type FreeholdError, follow } from "@freehold/client/core";
import type { Run, RunPlan } from "@freehold/client/gen/freehold/deployments/v1/run_pb";
import { RunPhase } from "@freehold/client/gen/freehold/deployments/v1/run_pb";
import { useEffect, useRef, useState } from "preact/hooks";

import { api } from "./api.js";
import { heard } from "./live.js";
import { LogLines } from "./loglines.js";
import { noticeError } from "./session.js";

/** A run as it goes on. */
export interface LiveRun {
  readonly run: Run | undefined;
  readonly plan: RunPlan | undefined;
  readonly lines: LogLines;
  /** Changes when lines were added. */
  readonly version: number;
  readonly error: FreeholdError | undefined;
}

/** Follows a run and its log, over lost connections, until it has ended and all of its log is here. */
export function useRun(name: string): LiveRun {
  const [run, setRun] = useState<Run>();
  const [plan, setPlan] = useState<RunPlan>();
  const [error, setError] = useState<FreeholdError>();
  const [version, setVersion] = useState(0);
  const lines = useRef(new LogLines());

  useEffect(() => {
    const stop = new AbortController();
    const { signal } = stop;
    const onState = (state: "open" | "lost", failed?: FreeholdError) => heard(state === "lost" ? failed : undefined);
    const failed = (thrown: unknown) => {
      if (!signal.aborted) setError(noticeError(thrown));
    };
    const watch = async () => {
      let [last, planned] = [undefined as Run | undefined, ""];
      const stream = follow(
        { open: (signal) => api.runs.watchRun({ name }, { signal }), finished: () => last?.phase === RunPhase.DONE },
        { signal, onState },
      );
      for await (const { run } of stream) {
        if (!run) continue;
        last = run;
        setRun(run);
        setError(undefined);
        if (run.planDigest && run.planDigest !== planned) {
          planned = run.planDigest;
          // A plan can be asked for once its digest is known; a look for drift has none to show.
          api.runs.getRunPlan({ name }, { signal }).then((answer) => setPlan(answer.runPlan), () => undefined);
        }
      }
    };
    const tail = async () => {
      let [offset, ended] = [0n, false];
      let drawing = false;
      const draw = () => {
        drawing = false;
        setVersion((version) => version + 1);
      };
      const stream = follow(
        {
          async *open(signal) {
            yield* api.runs.tailRunLogs({ name, offset, follow: true }, { signal });
            ended = true;
          },
          finished: () => ended,
        },
        { signal },
      );
      for await (const message of stream) {
        if (message.lines.length === 0) continue;
        offset = message.nextOffset;
        lines.current.append(message.lines);
        if (!drawing) requestAnimationFrame(draw);
        drawing = true;
      }
    };
    watch().catch(failed);
    tail().catch(failed);
    return () => stop.abort();
  }, [name]);
  return { run, plan, lines: lines.current, version, error };
}
