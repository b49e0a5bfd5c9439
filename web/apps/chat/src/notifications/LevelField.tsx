/** A field with one of a few values. */
interface Props<T extends string> {
  readonly label: string;
  readonly testId: string;
  /** The text of each value. */
  readonly options: Readonly<Record<T, string>>;
  readonly value: T;
  readonly onChange: (value: T) => void;
}

export function LevelField<T extends string>({ label, testId, options, value, onChange }: Props<T>) {
  return (
    <label className="field">
      <span className="field__label">{label}</span>
      <select
        className="field__input"
        data-testid={testId}
        value={value}
        onChange={(event) => onChange(event.target.value as T)}
      >
        {(Object.entries(options) as [T, string][]).map(([key, text]) => (
          <option key={key} value={key}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}
