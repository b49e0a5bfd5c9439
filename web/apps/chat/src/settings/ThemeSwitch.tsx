/** A button that cycles through the system, light and dark themes. */
import { useStrings } from '../i18n/language.ts';
import { Icon } from '../ui/Icon.tsx';
import { themes, themeSetting, useTheme } from './theme.ts';

export function ThemeSwitch() {
  const theme = useTheme();
  const { settings: words } = useStrings();
  const next = themes[(themes.indexOf(theme) + 1) % themes.length] ?? 'system';
  return (
    <button
      type="button"
      className="setting"
      data-testid="theme-switch"
      data-theme-choice={theme}
      aria-label={`${words.theme}: ${words[theme]}`}
      title={`${words.theme}: ${words[theme]}`}
      onClick={() => themeSetting.set(next)}
    >
      <Icon name={theme} />
      <span>{words[theme]}</span>
    </button>
  );
}
