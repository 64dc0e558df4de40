// What the description says of the API as a whole.
import { BATCH_ID, ID } from './examples.js'

const DESCRIPTION = `Self-hosted background jobs over HTTP.

**Bodies** are read as JSON whatever \`Content-Type\` says, except \`multipart/*\` and, elsewhere than at \`POST /jobs/batch\`,
\`application/x-ndjson\`; a form body that does not begin with \`{\` or \`[\` is read as form fields. Fields that are not
described are refused. JSON may be nested 64 levels deep. Times are RFC 3339.

**Keys.** Where API keys are configured, each request needs one: \`Authorization: Bearer …\`, or the cookie that the sign-in
at \`/ui/login\` sets. \`admin\` includes the other scopes, \`jobs:write\` does not include \`jobs:read\`. Without keys the
server listens on loopback only, and all is open.

**Problems** are \`application/problem+json\` (RFC 9457); programs tell them apart by \`code\`. A method that a path has not is
answered with 405 \`method_not_allowed\` and \`Allow\`, a path that is not here with 404 \`not_found\`. A client that takes too
long for its headers or its body gets a bare 408, one whose request is not HTTP a bare 400 or 431.

\`HEAD\` comes with every \`GET\`, \`OPTIONS\` is answered with 204 and \`Allow\`.`

const of = (what: string, example: string) => ({ description: what, example })

const PATH_PARAMETERS: Readonly<Record<string, { description: string; example: string }>> = {
  jobs: of('Id of the job.', ID),
  artifact: of('Name of the artifact.', 'jobs.csv'),
  batches: of('Id of the batch.', BATCH_ID),
  schedules: of('Name of the schedule.', 'nightly-cleanup'),
  digests: of('Name of the digest.', 'daily'),
}

export const ABOUT = {
  summary: 'Background jobs over HTTP',
  description: DESCRIPTION,
  license: { name: 'MIT', identifier: 'MIT' },
  /** By what their path begins with. */
  pathParameters: PATH_PARAMETERS,
  securitySchemes: {
    key: { type: 'http', scheme: 'bearer', description: 'An API key (`jobmill key` makes one).' },
    cookie: {
      type: 'apiKey',
      in: 'cookie',
      name: 'jobmill_key',
      description: 'The same, as the sign-in at `/ui/login` keeps it in a browser.',
    },
  },
}
