import UserActions from "./UserActions.jsx";

export default function Header({ user, onSignOut }) {
  return (
    <header>
      <h1>Tea shop</h1>
      <UserActions userId={user.id} name={user.name} onSignOut={onSignOut} />
    </header>
  );
}
