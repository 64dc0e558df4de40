// Draws what an element carries in data-series: jobs that ended in each minute of the last hour.
/* global uPlot */
const charts = new Map()
const HEIGHT = 180

for (const element of document.querySelectorAll('[data-series]')) draw(element)

// The page is kept up to date by its stream: the element stays, its series change.
new MutationObserver((changes) => {
  for (const { target } of changes) charts.get(target)?.setData(dataOf(target))
}).observe(document.body, { subtree: true, attributeFilter: ['data-series'] })

new ResizeObserver(() => {
  for (const [element, chart] of charts) chart.setSize(sizeOf(element))
}).observe(document.querySelector('main'))

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  for (const element of charts.keys()) draw(element)
})

function draw(element) {
  charts.get(element)?.destroy()
  const { series } = JSON.parse(element.dataset.series)
  const quiet = colour(element, 'quiet')
  const axis = { stroke: quiet, grid: { stroke: colour(element, 'line'), width: 1 }, ticks: { show: false } }
  const options = {
    ...sizeOf(element),
    cursor: { y: false },
    legend: { live: true },
    scales: { y: { range: (_chart, _min, max) => [0, Math.max(4, Math.ceil(max * 1.1))] } },
    axes: [
      { ...axis, values: (_chart, ticks) => ticks.map(clockTime) },
      { ...axis, size: 44, values: (_chart, ticks) => ticks.map((n) => (Number.isInteger(n) ? n : '')) },
    ],
    series: [
      { label: 'Minute', value: (_chart, at) => (at === null ? '–' : clockTime(at)) },
      ...series.map(({ name }) => {
        const stroke = colour(element, name)
        return { label: name, stroke, fill: faint(stroke), width: 2, points: { show: isPoint } }
      }),
    ],
  }
  charts.set(element, new uPlot(options, dataOf(element), element))
}

function dataOf({ dataset }) {
  const { ends_at, series } = JSON.parse(dataset.series)
  const minutes = series[0].values.map((_, i, all) => ends_at / 1_000 - 60 * (all.length - i))
  return [minutes, ...series.map(({ values }) => values)]
}

function sizeOf({ parentElement }) {
  return { width: parentElement.clientWidth, height: HEIGHT }
}

/** One minute alone makes no line. */
function isPoint({ data }, series) {
  return data[series].filter((n) => n !== null).length < 2
}

/** Seconds since 1970, as a clock on the wall shows them. */
function clockTime(at) {
  return new Date(1_000 * at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
}

function faint(rgb) {
  return rgb.replace('rgb(', 'rgba(').replace(')', ', 0.12)')
}

/** What the style sheet gives to `name`, in light or dark as it is now. */
function colour(element, name) {
  const probe = document.createElement('span')
  probe.className = name
  element.append(probe)
  const { color } = getComputedStyle(probe)
  probe.remove()
  return color
}
