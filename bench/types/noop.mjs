// The smallest job: what is measured with it is jobmill itself.
export default { run: () => performance.timeOrigin + performance.now() }
