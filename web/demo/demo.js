import { followJob } from '../client/stagemill.js';
import { Api } from '../client/rest.js';

const query = new URLSearchParams(location.search);
const token = query.get('token');
const pipeline = query.get('pipeline') ?? 'demo';
const api = new Api({ token });
const [clip, bar, says, player] = ['clip', 'bar', 'says', 'player'].map((id) => document.getElementById(id));

clip.onchange = async () => {
  try {
    const onProgress = ({ loaded, total }) => {
      bar.value = (100 * loaded) / total;
      says.textContent = 'uploading';
    };
    const { jobId } = await api.upload(clip.files[0], { pipeline, onProgress });
    const job = followJob(jobId, { token });
    job.on('change', (now) => {
      bar.value = now.pct;
      says.textContent = [now.status, now.message].filter(Boolean).join(': ');
    });
    const result = await job.done();
    const { url } = await api.link(jobId);
    player.src = new URL(`${url.replace(/\/?$/, '/')}${result.playlist}`, location.href).href;
    player.hidden = false;
  } catch (error) {
    says.textContent = error.message;
  }
};
