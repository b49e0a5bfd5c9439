/** The logo: the same drawing as favicon.svg. */
export function Logo() {
  return (
    <svg className="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect className="logo__ground" width="32" height="32" rx="9" />
      <path
        className="logo__bubble"
        d="M8 10.5A2.5 2.5 0 0 1 10.5 8h11a2.5 2.5 0 0 1 2.5 2.5v7a2.5 2.5 0 0 1-2.5 2.5H15l-4.5 4v-4A2.5 2.5 0 0 1 8 17.5z"
      />
      <path className="logo__lines" d="M12.5 12.5h7M12.5 15.8h4.5" />
    </svg>
  );
}
