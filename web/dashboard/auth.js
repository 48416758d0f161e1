// auth.js - the token of this tab: out of the address at once, into the tab's own storage, gone when the tab closes.
const key = 'stagemill-token';

export function tokenFromAddress() {
  const url = new URL(location.href);
  const given = url.searchParams.get('token');
  if (given === null) return;
  sessionStorage.setItem(key, given);
  url.searchParams.delete('token');
  history.replaceState(history.state, '', url.href);
}

export const token = () => sessionStorage.getItem(key);
export const keepToken = (value) => sessionStorage.setItem(key, value);
export const dropToken = () => sessionStorage.removeItem(key);
