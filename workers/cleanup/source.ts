// Where a table lies: in a SQLite file or behind a postgres:// URL. The drivers are loaded only where they are used.

export function isPostgres(source: string): boolean {
  return /^postgres(ql)?:\/\//.test(source) && URL.canParse(source) && !/%(?![\da-f]{2})/i.test(source)
}

/** The path in a plain path or in a `file:` URI (sqlite.org/uri.html), or null where it is neither. */
export function databaseFile(source: string): string | null {
  const [uri, host = '', encoded = ''] = /^file:(?:\/\/([^/?#]*))?([^?#]*)/.exec(source) ?? []
  if (uri === undefined && /^\w+:\/\//.test(source)) return null
  const path = uri === undefined ? source : decode(encoded)
  if (path === null || path.trim() === '' || path.includes('\0')) return null
  const inMemory = path === ':memory:' || /[?&]mode=memory(&|$)/.test(source)
  return inMemory || !/^(localhost)?$/.test(host) ? null : path
}

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text)
  } catch {
    return null
  }
}
