import { api } from "../lib/api.js";
import { shown } from "../lib/format.js";
import { shortName } from "../lib/names.js";
import { useQuery } from "../lib/query.js";
import { Icon } from "./icons.jsx";
import { Answer, Cli, Copy, Empty } from "./ui.jsx";

/** The inputs of a deployment or a revision; secret ones are not among them. */
export function Inputs({ inputs }: { inputs: Record<string, unknown> }) {
  const entries = Object.entries(inputs);
  if (entries.length === 0) return <p class="quiet">None is shown: there are none, or they are hidden.</p>;
  return (
    <table class="values">
      <tbody>
        {entries.map(([name, value]) => (
          <Value key={name} name={name} text={typeof value === "string" ? value : JSON.stringify(value, null, 2)} />
        ))}
      </tbody>
    </table>
  );
}

/** The outputs of a deployment. */
export function Outputs({ name }: { name: string }) {
  const outputs = useQuery(`outputs:${name}`, () => api.state.listOutputs({ parent: name }), [name]);
  return (
    <Answer query={outputs}>
      {({ outputs: list }) =>
        list.length === 0 ? (
          <Empty>There are none before the first apply.</Empty>
        ) : (
          <>
            <table class="values">
              <tbody>
                {list.map((output) => (
                  <Value key={output.name} name={output.name} text={output.sensitive ? undefined : shown(output.value)} />
                ))}
              </tbody>
            </table>
            {list.some((output) => output.sensitive) && <Cli line={`freehold deployment outputs ${shortName(name)} --reveal`} />}
          </>
        )
      }
    </Answer>
  );
}

function Value({ name, text }: { name: string; text: string | undefined }) {
  return (
    <tr>
      <th scope="row">{name}</th>
      <td>
        {text === undefined ? (
          <span class="quiet">
            <Icon name="lock" /> hidden
          </span>
        ) : (
          <Copy text={text} what={name}>
            <span class="value">{text === "" ? '""' : text}</span>
          </Copy>
        )}
      </td>
    </tr>
  );
}
