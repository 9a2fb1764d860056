import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.Proxy;
import java.net.URL;
import java.net.URLConnection;
import java.net.URLStreamHandler;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.CertPathValidator;
import java.security.cert.CertStore;
import java.security.cert.CertificateFactory;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXParameters;
import java.security.cert.PKIXRevocationChecker;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Date;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import sun.security.util.HostnameChecker;

/**
 * What Java says about the vectors: PkixOracle FOLDER, one line per case of FOLDER/cases.txt: name,
 * TAB, accept or reject, TAB, why.
 *
 * <p>The presented certificates are the CertPath in the order presented, cut at the first one that
 * is a trust anchor, as Java's own trust manager cuts it. Staples and OCSP answers are given to the
 * PKIXRevocationChecker, CRLs lie in a CertStore, and nothing is fetched. The name is compared by
 * the checker that Java's TLS uses for HTTPS (--add-exports java.base/sun.security.util=ALL-UNNAMED).
 */
public final class PkixOracle {
    private static Path folder;

    /** One block of cases.txt. */
    private static final class Vector {
        String name;
        String wanted;
        boolean isClient;
        boolean hasCrlFile; // asked before everything else
        long nowS;
        final Map<String, String> policy = new HashMap<>();
        final List<String> anchors = new ArrayList<>();
        final List<String> certs = new ArrayList<>();
        final List<String> crls = new ArrayList<>();
        final List<String> others = new ArrayList<>();
        final Map<Integer, String> staples = new HashMap<>();
        final Map<String, String> fresh = new HashMap<>();
        final Map<String, String> cached = new HashMap<>();
        final Map<String, List<String>> urls = new HashMap<>(); // by certificate file

        void read(String line) {
            String[] words = line.split(" ", 2);
            String value = words.length > 1 ? words[1] : "";
            String[] parts = value.split(" ");
            switch (words[0]) {
                case "case" -> name = value;
                case "name" -> wanted = value;
                case "client" -> isClient = true;
                case "now" -> nowS = Long.parseLong(value);
                case "anchor" -> anchors.add(value);
                case "cert" -> certs.add(value);
                case "crl_issuer" -> others.add(value);
                case "given_crl" -> crls.add(value);
                case "crl_file" -> {
                    crls.add(value);
                    hasCrlFile = true;
                }
                case "staple" -> staples.put(Integer.valueOf(parts[0]), parts[1]);
                case "about" -> urls.computeIfAbsent(parts[1], file -> new ArrayList<>()).add(parts[0]);
                case "policy" -> {
                    for (String pair : parts) {
                        if (pair.contains("=")) {
                            policy.put(pair.split("=", 2)[0], pair.split("=", 2)[1]);
                        }
                    }
                }
                case "reply" -> {
                    if (parts[1].equals("ok")) {
                        fresh.put(parts[0], parts[2]);
                    } else if (parts[1].equals("cached")) {
                        cached.put(parts[0], parts[2]);
                    }
                }
                default -> { } // what only the core is told
            }
        }

        boolean says(String key, String value, String usual) {
            return policy.getOrDefault(key, usual).equals(value);
        }

        /** Answers that came, fresh before cached. */
        Map<String, String> replies() {
            Map<String, String> all = new HashMap<>(cached);
            all.putAll(fresh);
            return all;
        }
    }

    private static byte[] bytes(String file) throws IOException {
        return Files.readAllBytes(folder.resolve(file));
    }

    private static X509Certificate cert(String file) throws Exception {
        return (X509Certificate) CertificateFactory.getInstance("X.509")
                .generateCertificate(new ByteArrayInputStream(bytes(file)));
    }

    private static PKIXParameters parameters(Vector vector) throws Exception {
        Set<TrustAnchor> anchors = new HashSet<>();
        for (String file : vector.anchors) {
            anchors.add(new TrustAnchor(cert(file), null));
        }
        PKIXParameters parameters = new PKIXParameters(anchors);
        parameters.setDate(new Date(vector.nowS * 1000));
        parameters.setRevocationEnabled(false); // by a checker of its own, below
        parameters.setExplicitPolicyRequired(vector.says("require_explicit_policy", "on", "off"));
        parameters.setPolicyMappingInhibited(vector.says("inhibit_policy_mapping", "on", "off"));
        parameters.setAnyPolicyInhibited(vector.says("inhibit_any_policy", "on", "off"));
        if (vector.policy.containsKey("cert_policies")) {
            parameters.setInitialPolicies(
                    new HashSet<>(List.of(vector.policy.get("cert_policies").split(","))));
        }
        return parameters;
    }

    private static CertStore store(Vector vector) throws Exception {
        List<Object> things = new ArrayList<>();
        List<String> files = new ArrayList<>(vector.crls);
        vector.replies().forEach((url, file) -> {
            if (file.endsWith(".crl")) {
                files.add(file);
            }
        });
        for (String file : files) {
            try {
                things.add(CertificateFactory.getInstance("X.509")
                        .generateCRL(new ByteArrayInputStream(bytes(file))));
            } catch (java.security.cert.CRLException notOne) {
                continue; // as if it could not be had
            }
        }
        for (String file : vector.others) {
            things.add(cert(file));
        }
        for (String file : vector.certs) {
            things.add(cert(file));
        }
        return CertStore.getInstance("Collection", new CollectionCertStoreParameters(things));
    }

    private static PKIXRevocationChecker checker(Vector vector, CertPathValidator validator)
            throws Exception {
        PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
        Set<PKIXRevocationChecker.Option> options = new HashSet<>();
        String sources = vector.policy.getOrDefault("revocation_sources", "staple,ocsp,crl");
        boolean hasOcsp = sources.contains("ocsp");
        if (vector.says("revocation", "soft", "hard")) {
            options.add(PKIXRevocationChecker.Option.SOFT_FAIL);
        }
        if (vector.says("revocation_scope", "leaf", "chain")) {
            options.add(PKIXRevocationChecker.Option.ONLY_END_ENTITY);
        }
        if (vector.hasCrlFile || !hasOcsp || sources.indexOf("crl") < sources.indexOf("ocsp") && sources.contains("crl")) {
            options.add(PKIXRevocationChecker.Option.PREFER_CRLS);
        }
        if (!hasOcsp || !sources.contains("crl")) {
            options.add(PKIXRevocationChecker.Option.NO_FALLBACK);
        }
        checker.setOptions(options);

        Map<X509Certificate, byte[]> responses = new HashMap<>();
        Map<String, String> replies = vector.replies();
        for (Map.Entry<String, List<String>> entry : vector.urls.entrySet()) {
            for (String url : entry.getValue()) {
                if (replies.containsKey(url)) {
                    responses.putIfAbsent(cert(entry.getKey()), bytes(replies.get(url)));
                }
            }
        }
        if (sources.contains("staple")) {
            for (Map.Entry<Integer, String> staple : vector.staples.entrySet()) {
                responses.put(cert(vector.certs.get(staple.getKey())), bytes(staple.getValue()));
            }
        }
        checker.setOcspResponses(responses);
        return checker;
    }

    private static void judge(Vector vector) throws Exception {
        PKIXParameters parameters = parameters(vector);
        Set<X509Certificate> trusted = new HashSet<>();
        for (TrustAnchor anchor : parameters.getTrustAnchors()) {
            trusted.add(anchor.getTrustedCert());
        }
        List<X509Certificate> path = new ArrayList<>();
        X509Certificate leaf = null;
        for (String file : vector.certs) {
            X509Certificate one = cert(file);
            leaf = leaf == null ? one : leaf;
            if (trusted.contains(one)) {
                break;
            }
            path.add(one);
        }
        if (leaf == null) {
            throw new Exception("no certificate was presented");
        }
        if (!path.isEmpty()) {
            CertPathValidator validator = CertPathValidator.getInstance("PKIX");
            parameters.addCertStore(store(vector));
            if (!vector.says("revocation", "off", "hard")) {
                parameters.addCertPathChecker(checker(vector, validator));
            }
            validator.validate(
                    CertificateFactory.getInstance("X.509").generateCertPath(path), parameters);
        }
        if (!vector.isClient && !vector.says("name", "off", "require")) {
            if (vector.wanted == null) {
                throw new Exception("no name was given");
            }
            HostnameChecker.getInstance(HostnameChecker.TYPE_TLS).match(vector.wanted, leaf);
        }
    }

    private static String why(Throwable error) {
        StringBuilder text = new StringBuilder();
        for (Throwable one = error; one != null; one = one.getCause()) {
            text.append(text.length() > 0 ? ": " : "").append(one.getMessage());
        }
        return text.toString().replaceAll("\\s+", " ");
    }

    /** Whatever Java would fetch by itself is refused: all that there is was given to it. */
    private static void forbidTheNetwork() {
        URL.setURLStreamHandlerFactory(protocol ->
                !protocol.equals("http") && !protocol.equals("https") ? null : new URLStreamHandler() {
                    @Override
                    protected URLConnection openConnection(URL url) throws IOException {
                        throw new IOException("nothing is fetched");
                    }

                    @Override
                    protected URLConnection openConnection(URL url, Proxy proxy) throws IOException {
                        throw new IOException("nothing is fetched");
                    }
                });
    }

    /** Judges every case. */
    public static void main(String[] arguments) throws Exception {
        folder = Path.of(arguments[0]);
        forbidTheNetwork();
        StringBuilder out = new StringBuilder();
        Vector vector = new Vector();
        for (String line : Files.readAllLines(folder.resolve("cases.txt"), StandardCharsets.UTF_8)) {
            if (!line.equals("end")) {
                vector.read(line);
                continue;
            }
            String says = "accept\t";
            try {
                judge(vector);
            } catch (Exception refused) {
                says = "reject\t" + why(refused);
            }
            out.append(vector.name).append('\t').append(says).append('\n');
            vector = new Vector();
        }
        System.out.write(out.toString().getBytes(StandardCharsets.UTF_8));
        System.out.flush();
    }
}
