import java.io.FileInputStream;
import java.io.InputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertPathBuilder;
import java.security.cert.CertificateFactory;
import java.security.cert.PKIXBuilderParameters;
import java.security.cert.PKIXRevocationChecker;
import java.security.cert.X509CertSelector;
import java.util.Scanner;
import javax.net.ssl.CertPathTrustManagerParameters;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/**
 * A strict peer as many platforms are: Java's own path validation with revocation checking, host
 * names compared, a client certificate presented.
 *
 * <p>java StrictClient.java ADDRESS PORT NAME ROOT.pem CLIENT.p12 PASSWORD prints the status of
 * GET /, or what Java says of the connection (exit status 1).
 */
public final class StrictClient {
    public static void main(String[] args) throws Exception {
        char[] password = args[5].toCharArray();
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(
                keys(args[4], password).getKeyManagers(), trust(args[3]).getTrustManagers(), null);
        try (Socket plain = new Socket(args[0], Integer.parseInt(args[1]));
                SSLSocket socket = (SSLSocket) context.getSocketFactory()
                        .createSocket(plain, args[2], plain.getPort(), true)) {
            socket.setSoTimeout(30000);
            SSLParameters parameters = socket.getSSLParameters();
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            socket.setSSLParameters(parameters);
            String request = "GET / HTTP/1.1\r\nHost: " + args[2] + "\r\nConnection: close\r\n\r\n";
            socket.getOutputStream().write(request.getBytes(StandardCharsets.US_ASCII));
            Scanner answer = new Scanner(socket.getInputStream(), "US-ASCII");
            answer.next();
            System.out.println(answer.next());
        } catch (Exception failure) {
            System.out.println(failure);
            System.exit(1);
        }
    }

    private static KeyManagerFactory keys(String file, char[] password) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (InputStream in = new FileInputStream(file)) {
            store.load(in, password);
        }
        KeyManagerFactory factory = KeyManagerFactory.getInstance("PKIX");
        factory.init(store, password);
        return factory;
    }

    private static TrustManagerFactory trust(String file) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        try (InputStream in = new FileInputStream(file)) {
            store.setCertificateEntry(
                    "root", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        PKIXBuilderParameters parameters =
                new PKIXBuilderParameters(store, new X509CertSelector());
        parameters.addCertPathChecker(
                (PKIXRevocationChecker) CertPathBuilder.getInstance("PKIX").getRevocationChecker());
        TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
        factory.init(new CertPathTrustManagerParameters(parameters));
        return factory;
    }
}
