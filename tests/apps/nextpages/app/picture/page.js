import Image from "next/image";

export default function Page() {
  return <Image id="picture" src="/picture.png" alt="Stripes" width={256} height={256} priority />;
}
