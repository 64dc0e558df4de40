// How figures are printed.

/** Median, lowest and highest of the rounds. */
export function spread(values: number[], digits = 0): string {
  const sorted = values.toSorted((a, b) => a - b)
  const text = (value: number | undefined) => value?.toFixed(digits)
  return `${text(sorted[Math.floor(sorted.length / 2)])} (${text(sorted[0])} to ${text(sorted.at(-1))})`
}

export function print(what: string, figure: string, unit: string): void {
  process.stdout.write(`${what.padEnd(46)} ${figure} ${unit}\n`)
}
