// Cuts texts to a number of bytes.

const MARK = '… (cut)'

/** The text, or as much of it as fits with a mark into `bytes` of UTF-8, never half a character. */
export function cut(text: string, bytes: number): string {
  // A UTF-16 unit takes 3 bytes at the most.
  if (text.length * 3 <= bytes) return text
  const whole = Buffer.from(text.length > bytes ? text.slice(0, bytes) : text)
  if (text.length <= bytes && whole.length <= bytes) return text
  const room = Math.max(0, bytes - Buffer.byteLength(MARK))
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(whole.subarray(0, room), { stream: true }) + MARK
}
