// jobmill says with its last answer how the job ended: HX-Trigger becomes an event of the page.
const toast = document.getElementById('toast')

function show(text) {
  toast.textContent = text
  toast.hidden = false
}

document.addEventListener('jobAccepted', () => {
  toast.hidden = true
})
document.addEventListener('jobCompleted', () => show('Your job is done.'))
document.addEventListener('jobFailed', () => show('Your job did not succeed.'))
