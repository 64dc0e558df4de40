// What Piscina requires in a thread. An import, unlike a require of an ES module, does not abort the whole process where
// the thread is terminated in the middle of it (V8's IsGraphAsync, seen with Node 20.20).
module.exports = import('./thread.js').then(({ default: runTask }) => runTask)
