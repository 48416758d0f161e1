// result.js - what a job made: a player for its playlist, its pictures, every file. Files are reached by an address that the
// daemon signs for a while, so that playlists find their segments and no token stands in any address.
import { h } from './dom.js';
import { bytes, shown } from './format.js';

const playlists = /mpegurl/i;
const isUrl = (text) => typeof text === 'string' && /^https?:\/\//.test(text);

function nameOf(artifact) {
  return artifact.path;
}

/** The one to play: what the result names, else a master playlist, else a video file. */
export function playable(artifacts, result) {
  const named = Object.values(result ?? {}).find((value) => typeof value === 'string' && /\.m3u8($|\?)/.test(value));
  if (isUrl(named)) return { url: named, type: 'application/vnd.apple.mpegurl' };
  const found =
    artifacts.find((file) => named && nameOf(file) === named) ??
    artifacts.find((file) => /master\.m3u8$/.test(nameOf(file))) ??
    artifacts.find((file) => playlists.test(file.mediaType) || /\.m3u8$/.test(nameOf(file))) ??
    artifacts.find((file) => /^video\/(mp4|webm)/.test(file.mediaType));
  return found ? { path: nameOf(found), type: found.mediaType } : null;
}

function player(url, type, poster) {
  const video = h('video', { controls: true, playsinline: true, preload: 'metadata', poster, 'aria-label': 'Result' });
  const able =
    !playlists.test(type) ||
    video.canPlayType('application/vnd.apple.mpegurl') ||
    video.canPlayType('application/x-mpegurl');
  const link = h('p', { class: 'help' }, h('a', { href: url }, 'Open the playlist'), ' in a player of your own.');
  if (!able) return h('div', null, h('p', null, 'This browser does not play HLS by itself.'), link);
  video.src = url;
  return h('div', { class: 'page' }, video, link);
}

/** Fills the boxes of a job's page with what there is; answers false when there is nothing yet. */
export async function drawResult(api, job, { media, pictures, files }) {
  const artifacts = await api.artifacts(job.id);
  const play = playable(artifacts, job.result);
  if (!artifacts.length && !play) return false;
  const base = artifacts.length ? (await api.link(job.id, { ttl: '12h' })).url : '';
  const at = (path) =>
    new URL(`${base.replace(/\/?$/, '/')}${path.split('/').map(encodeURIComponent).join('/')}`, location.origin).href;
  const images = artifacts.filter((file) => /^image\/(jpeg|png|webp|gif|avif)/.test(file.mediaType));
  const poster = images.find((file) => file.path === job.result?.poster) ?? images[0];
  if (play && job.status === 'completed' && media.dataset.path !== (play.url ?? play.path)) {
    media.dataset.path = play.url ?? play.path;
    media.replaceChildren(
      h('h2', null, 'Player'),
      player(play.url ?? at(play.path), play.type, poster && at(poster.path)),
    );
    media.hidden = false;
  }
  if (images.length && Number(pictures.dataset.count) !== images.length) {
    pictures.dataset.count = images.length;
    const some = images.slice(0, 60);
    pictures.replaceChildren(
      h('h2', null, 'Pictures'),
      h(
        'ul',
        { class: 'gallery' },
        some.map((file) =>
          h(
            'li',
            null,
            h(
              'a',
              { href: at(file.path), target: '_blank', rel: 'noopener' },
              h('img', { src: at(file.path), alt: `${file.stage}: ${file.path}`, loading: 'lazy' }),
            ),
          ),
        ),
      ),
    );
    pictures.hidden = false;
  }
  if (artifacts.length) {
    files.replaceChildren(
      h('h2', null, `Files (${artifacts.length})`),
      h(
        'ul',
        { class: 'downloads', tabindex: '0', 'aria-label': 'Files' },
        artifacts
          .slice(0, 500)
          .map((file) =>
            h(
              'li',
              null,
              h('a', { href: at(file.path), download: file.path.split('/').pop() }, file.path),
              h('span', { class: 'help' }, bytes(file.bytes)),
            ),
          ),
      ),
    );
    files.hidden = false;
  }
  return true;
}

export function resultTable(result) {
  const rows = Object.entries(result ?? {});
  if (!rows.length) return null;
  return h(
    'table',
    null,
    h(
      'tbody',
      null,
      rows.map(([name, value]) =>
        h(
          'tr',
          null,
          h('th', { scope: 'row' }, name),
          h('td', null, isUrl(value) ? h('a', { href: value }, value) : shown(value)),
        ),
      ),
    ),
  );
}
