// A promise with the function that resolves it.

export interface Gate {
  promise: Promise<void>
  resolve(): void
}

export function createGate(): Gate {
  let resolve = () => {}
  const promise = new Promise<void>((open) => {
    resolve = open
  })
  return { promise, resolve }
}
