// Imports point one way: pure files ← edges ← core ← surface ← service.ts ← main.ts.
const PURE =
  'src/(job|adjust|new-job|outcome|backoff|errors|define-job|duration|span|envelope|bytes|cut|json|explain|gate|setting-kinds|sqlite-package|slot-shares|api-key)\\.ts$|src/schedules/(calendar|ticks|totals)\\.ts$|src/digests/(events|mail)\\.ts$'
const EDGES =
  'src/(config|config-file|settings|job-types|type-probe|build|ids|events|artifacts|type-files)\\.ts$|src/(store|pool)/'
const CORE =
  'src/(tracker|dispatcher|drain-rate|submission|handler-calls|bulk|nodes|hints|relay|job-view|artifact-quota|final-waits|job-feed|room|why|run-logs)\\.ts$|src/(upkeep|stats|schedules|digests)/'
const SURFACE = 'src/(log|metrics)\\.ts$|src/(http|ui)/'
const OURS = '(^|/)(src|workers|test|bench)/'

/** Files matching `from` import, of our own, only files matching `to`. */
function only(name, from, to) {
  return { name, severity: 'error', from: { path: from }, to: { path: OURS, pathNot: to } }
}

export default {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'no-unknown-modules', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'no-dev-dependencies-in-src',
      severity: 'error',
      from: { path: '(^|/)(src|workers)/' },
      to: { dependencyTypes: ['npm-dev'] },
    },
    only('pure-files-import-pure-files', PURE, [PURE]),
    only('edges-import-edges-and-pure-files', EDGES, [PURE, EDGES]),
    only(
      'the-thread-side-sees-pure-files-only',
      'src/pool/(thread|protocol|failure|calls|served|artifacts|json-size|json-form)\\.ts$',
      [PURE, 'src/pool/(protocol|failure|calls|served|artifacts|json-size|json-form)\\.ts$'],
    ),
    only('core-imports-no-surface', CORE, [PURE, EDGES, CORE]),
    only('surface-imports-no-service', SURFACE, [PURE, EDGES, CORE, SURFACE]),
    only('torture-imports-edges-and-pure-files', 'src/torture/', [PURE, EDGES, 'src/torture/']),
    only('migrate-imports-edges-and-pure-files', 'src/migrate/', [PURE, EDGES, 'src/migrate/']),
    only('service-imports-all-but-main', 'src/service\\.ts$', [PURE, EDGES, CORE, SURFACE]),
    { name: 'src-imports-no-workers', severity: 'error', from: { path: '(^|/)src/' }, to: { path: '(^|/)workers/' } },
    {
      name: 'a-job-type-imports-define-job-and-its-own-folder',
      severity: 'error',
      from: { path: '(^|/)workers/([^/]+)' },
      to: { path: OURS, pathNot: ['src/define-job\\.ts$', '(^|/)workers/$2/'] },
    },
  ],
  options: {
    parser: 'swc',
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      extensions: ['.ts', '.js', '.mjs'],
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
    },
  },
}
