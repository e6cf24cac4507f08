import { useState } from "react";
import Header from "./Layout/Header/Header.jsx";
import Orders from "./Orders.jsx";
import SignIn from "./SignIn.jsx";
import { currentUser, signOut } from "./services/api.js";

export default function App() {
  const [user, setUser] = useState(currentUser);
  if (!user) return <SignIn onSignIn={() => setUser(currentUser())} />;
  const leave = () => {
    signOut();
    setUser(null);
  };
  return (
    <>
      <Header user={user} onSignOut={leave} />
      <Orders />
    </>
  );
}
