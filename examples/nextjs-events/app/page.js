import { getServerSession } from "next-auth";
import Home from "@/components/Home";
import SignIn from "@/components/SignIn";
import { authOptions } from "@/lib/auth";

export default async function Page() {
  const session = await getServerSession(authOptions);
  return session ? <Home user={session.user.name} /> : <SignIn />;
}
