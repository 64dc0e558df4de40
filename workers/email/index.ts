// The built-in job type `email`: sends mails by SMTP, or writes them whole into the outbox folder.
import { defineJob } from '../../src/define-job.js'
import { sendIndividually } from './individually.js'
import { compose } from './mail.js'
import { outboxPost } from './outbox.js'
import { config, payload } from './payload.js'
import { smtpPost } from './smtp.js'

export default defineJob({
  description: 'Send a mail: by SMTP where jobs.email.smtp is set, into the outbox folder otherwise',
  payload,
  config,
  timeout: '60s',
  retry_count: 3,
  async run(payload, ctx) {
    const mail = await compose(payload, ctx)
    const { smtp } = ctx.config
    const post = smtp === undefined ? outboxPost(ctx) : smtpPost(smtp, ctx)
    if (payload.individually === true) return sendIndividually(payload, mail, post, ctx)
    if (smtp !== undefined) await ctx.progress(10, 'talking to the mail server')
    return post(mail, ctx.id)
  },
})
