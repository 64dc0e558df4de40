// Odd texts and values, and examples with odd changes, for fast-check.
import fc from 'fast-check'

const ODD_TEXTS = [
  '',
  ' ',
  '\u0000',
  '\ud800',
  '__proto__',
  'constructor',
  '../../etc/passwd',
  "' OR 1=1 --",
  '<script>alert(1)</script>',
  '-5m',
  '1e9',
  '99999999999999999999',
  '2030-02-30T08:30:00Z',
  'x'.repeat(2_000),
]
const ODD_VALUES = [
  null,
  true,
  -1,
  0,
  1,
  5,
  6,
  1.5,
  0.0999,
  5e-324,
  1e308,
  2 ** 53,
  [],
  {},
  [[]],
  { $ref: '#' },
  { filter: {} },
]
const ODD_NAMES = ['unknown', '__proto__', 'constructor', 'toString', '', 'then', '$ref']

export const oddText = fc.oneof(fc.constantFrom(...ODD_TEXTS), fc.string({ unit: 'grapheme' }))
const oddValue = fc.oneof(fc.constantFrom<unknown>(...ODD_VALUES), oddText, fc.jsonValue({ maxDepth: 3 }))

export type Change = { how: 'replace' | 'remove' | 'add'; where: number; key: string; value: unknown }
/** Up to three, of a value that is an example. */
export const changes: fc.Arbitrary<Change[]> = fc.array(
  fc.record({
    how: fc.constantFrom('replace', 'replace', 'remove', 'add'),
    where: fc.nat(1_000),
    key: fc.constantFrom(...ODD_NAMES),
    value: oddValue,
  }),
  { maxLength: 3 },
)

/** Every place in a value: who holds it, under which key. */
function places(holder: object): [object, string][] {
  return Object.entries(holder).flatMap(([key, inner]): [object, string][] =>
    typeof inner === 'object' && inner !== null ? [[holder, key], ...places(inner)] : [[holder, key]],
  )
}

/** An own field, whatever its name. */
const put = (holder: object, key: string, value: unknown) =>
  Object.defineProperty(holder, key, { value, enumerable: true, configurable: true, writable: true })

export function changed(example: unknown, list: readonly Change[]): unknown {
  const root = { it: structuredClone(example) }
  for (const { how, where, key, ...rest } of list) {
    const value: unknown = structuredClone(rest.value)
    const all = places(root)
    const [holder, at] = all[where % all.length] ?? [root, 'it']
    const inner = Reflect.get(holder, at)
    if (how === 'remove' && holder !== root) Reflect.deleteProperty(holder, at)
    else if (how === 'add' && typeof inner === 'object' && inner !== null) put(inner, key, value)
    else put(holder, at, value)
  }
  return root.it
}
