/*M!999999\- enable the sandbox mode */ 
-- MariaDB dump 10.19  Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)
--
-- Host: 127.0.0.1    Database: roadvault_1
-- ------------------------------------------------------
-- Server version	10.11.19-MariaDB-0+deb12u1

/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!40101 SET @OLD_CHARACTER_SET_RESULTS=@@CHARACTER_SET_RESULTS */;
/*!40101 SET @OLD_COLLATION_CONNECTION=@@COLLATION_CONNECTION */;
/*!40101 SET NAMES utf8mb4 */;
/*!40103 SET @OLD_TIME_ZONE=@@TIME_ZONE */;
/*!40103 SET TIME_ZONE='+00:00' */;
/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;
/*!40111 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0 */;

--
-- Table structure for table `_migration_at_work`
--

DROP TABLE IF EXISTS `_migration_at_work`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `_migration_at_work` (
  `migration_id` varchar(255) NOT NULL,
  `done` int(11) NOT NULL COMMENT 'statements that are done',
  PRIMARY KEY (`migration_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `_migration_at_work`
--

LOCK TABLES `_migration_at_work` WRITE;
/*!40000 ALTER TABLE `_migration_at_work` DISABLE KEYS */;
/*!40000 ALTER TABLE `_migration_at_work` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table `_yoyo_migration`
--

DROP TABLE IF EXISTS `_yoyo_migration`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `_yoyo_migration` (
  `migration_hash` varchar(64) NOT NULL,
  `migration_id` varchar(255) DEFAULT NULL,
  `applied_at_utc` datetime DEFAULT NULL,
  PRIMARY KEY (`migration_hash`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `_yoyo_migration`
--

LOCK TABLES `_yoyo_migration` WRITE;
/*!40000 ALTER TABLE `_yoyo_migration` DISABLE KEYS */;
INSERT INTO `_yoyo_migration` VALUES
('0825a6296ded8bdb6db1a09e095e2381553ecbb50409a4c922f5ea76a4cef083','0015_set_aside','2026-11-27 10:10:47'),
('0aa26271a48590572c3808718305e86190c6c6e6f53636457acf0d08725496be','0013_master_keys','2026-11-27 10:10:47'),
('4f85e02c06a620f0ca307347cef6bdf0ec08090b2f3075e9714bf2126be5f480','0009_evidence','2026-11-27 10:10:47'),
('5867ad43e6277655c5431dcbc3667527dfad17c553ef6772d5499e7c57f70fa3','0005_status','2026-11-27 10:10:47'),
('61e04c78203b07088e71c1b0a916f0b3ac1da0da72c7db7e565d022d9c7d60cb','0008_identity','2026-11-27 10:10:47'),
('624f041fbe19565d3a82bd8a143a2369c49bd7716b9024dd75f33577777f2ee3','0017_watch','2026-11-27 10:10:47'),
('7dd700c7e8cf465701b99f51d2fdab7fd89c18c1ce60b990faf20f7f96624c62','0003_spending','2026-11-27 10:10:47'),
('827f2147b03980d229156459b37c6bd9dea9b9883297cb661457571701aaf903','0004_restore','2026-11-27 10:10:47'),
('9022cfc0b448d891aed83f57dc6da66429013eed981b675bc90ff79b1c973224','0011_ages','2026-11-27 10:10:47'),
('a5bbd79ec3573db0502fa0c6833ff9a3a58b8f49641f9a4dc2413f13428d6cc6','0001_archive','2026-11-27 10:10:46'),
('c791c30ae6dd9c899c45be395b833548e9752b2ad0f8d9f088cd6707f2304e43','0007_renewals','2026-11-27 10:10:47'),
('cf7cc459c327a355dcf01579feaf0e543336574d37726eeca1b0400869c02f9f','0010_renewal_sizes','2026-11-27 10:10:47'),
('d26e8e4d45bdcda4420a5fd911013ebba58655ac9039ccb45a40d73b71143bd2','0012_requests','2026-11-27 10:10:47'),
('dca5b0b15f11b94da281e9f733ec7035d3cf5c8dbff16f5cb2254257e7a528dd','0006_purchases','2026-11-27 10:10:47'),
('e8d5026549521d29ac30013be30f67bc0c607033d89818f107f2830e4dcde887','0014_outages','2026-11-27 10:10:47'),
('fe7c20abcd79105467103b7c29cb4d0ef5df7c94cee6deb776a30673663a5bc7','0002_proof','2026-11-27 10:10:46');
/*!40000 ALTER TABLE `_yoyo_migration` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table `download_info`
--

DROP TABLE IF EXISTS `download_info`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `download_info` (
  `download_id` bigint(20) NOT NULL AUTO_INCREMENT,
  `file_id` bigint(20) NOT NULL,
  `cb_url` varchar(2048) NOT NULL,
  `open_key` char(64) DEFAULT NULL COMMENT 'SHA-256 of file id and cb_url while the request is open: the same again joins it',
  `status` tinyint(4) NOT NULL DEFAULT 0 COMMENT '0 requested, 1 extracted, 2 called back, 3 failed, 4 expired',
  `path` varchar(200) DEFAULT NULL COMMENT 'the extracted file, below the data directory, perhaps shared with other requests of the file; NULL once removed',
  `source` varchar(10) DEFAULT NULL COMMENT 'where the bytes came from: received, archive or ipfs',
  `extracted_at` datetime(6) DEFAULT NULL,
  `link_expires_at` datetime(6) DEFAULT NULL COMMENT 'written before each callback; the extraction is kept at least until then',
  `called_back_at` datetime(6) DEFAULT NULL,
  `fetch_due` datetime(6) DEFAULT NULL,
  `fetch_token` char(32) DEFAULT NULL,
  `fetch_attempts` int(11) NOT NULL DEFAULT 0,
  `fetch_reason` varchar(500) DEFAULT NULL,
  `fetch_failed_at` datetime(6) DEFAULT NULL,
  `callback_due` datetime(6) DEFAULT NULL,
  `callback_token` char(32) DEFAULT NULL,
  `callback_attempts` int(11) NOT NULL DEFAULT 0,
  `callback_reason` varchar(500) DEFAULT NULL,
  `callback_failed_at` datetime(6) DEFAULT NULL,
  `expire_due` datetime(6) DEFAULT NULL,
  `expire_token` char(32) DEFAULT NULL,
  `expire_attempts` int(11) NOT NULL DEFAULT 0,
  `expire_reason` varchar(500) DEFAULT NULL,
  `expire_failed_at` datetime(6) DEFAULT NULL,
  `update_time` datetime(6) NOT NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6),
  `create_time` datetime(6) NOT NULL DEFAULT current_timestamp(6),
  `peer` varchar(64) DEFAULT NULL COMMENT 'address that the request came from',
  `cb_place` varchar(300) DEFAULT NULL COMMENT 'host:port that the callback goes to',
  PRIMARY KEY (`download_id`),
  UNIQUE KEY `one_open_request` (`open_key`),
  KEY `download_file` (`file_id`),
  KEY `download_path` (`path`),
  KEY `download_fetch_due` (`fetch_due`),
  KEY `download_fetch_failed` (`fetch_failed_at`),
  KEY `download_callback_due` (`callback_due`),
  KEY `download_callback_failed` (`callback_failed_at`),
  KEY `download_expire_due` (`expire_due`),
  KEY `download_expire_failed` (`expire_failed_at`),
  KEY `download_file_path` (`file_id`,`path`),
  KEY `download_file_waiting` (`file_id`,`fetch_due`),
  KEY `download_file_open` (`file_id`,`open_key`),
  KEY `download_peer_open` (`peer`,`open_key`),
  KEY `download_place_due` (`cb_place`,`callback_due`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `download_info`
--

LOCK TABLES `download_info` WRITE;
/*!40000 ALTER TABLE `download_info` DISABLE KEYS */;
/*!40000 ALTER TABLE `download_info` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table `evidence_info`
--

DROP TABLE IF EXISTS `evidence_info`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `evidence_info` (
  `evidence_id` bigint(20) NOT NULL AUTO_INCREMENT,
  `zip_id` bigint(20) NOT NULL,
  `valid` tinyint(4) DEFAULT 1 COMMENT 'NULL once void: an archive has one valid evidence at most',
  `market` varchar(100) DEFAULT NULL COMMENT 'which counted, as in order_info.market; NULL: from before this table',
  `block` bigint(20) DEFAULT NULL COMMENT 'the finalized height at which replicas were last counted; NULL: from before this table',
  `replicas` int(11) NOT NULL COMMENT 'that were counted there: more than the threshold',
  `counted_at` datetime(6) NOT NULL COMMENT 'when they were last counted, at a height that is new',
  `proven_at` datetime(6) DEFAULT NULL COMMENT 'when files of the archive last came back from the network as they were archived',
  `proven_by` varchar(300) DEFAULT NULL COMMENT 'how, and through which host',
  `members` int(11) DEFAULT NULL COMMENT 'files that came back for that proof',
  `bytes` bigint(20) DEFAULT NULL COMMENT 'their length together',
  `void_at` datetime(6) DEFAULT NULL,
  `void_reason` varchar(500) DEFAULT NULL COMMENT 'why it is evidence no more',
  `update_time` datetime(6) NOT NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6),
  `create_time` datetime(6) NOT NULL DEFAULT current_timestamp(6) COMMENT 'when enough replicas were first counted',
  PRIMARY KEY (`evidence_id`),
  UNIQUE KEY `one_valid_evidence_for_each_archive` (`zip_id`,`valid`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `evidence_info`
--

LOCK TABLES `evidence_info` WRITE;
/*!40000 ALTER TABLE `evidence_info` DISABLE KEYS */;
/*!40000 ALTER TABLE `evidence_info` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table `file_upload_info`
--

DROP TABLE IF EXISTS `file_upload_info`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `file_upload_info` (
  `file_id` bigint(20) NOT NULL AUTO_INCREMENT,
  `file_name` varchar(255) NOT NULL,
  `file_type` varchar(32) NOT NULL COMMENT 'the name''s extension in lower case, without the dot',
  `size` bigint(20) NOT NULL,
  `sha256` char(64) NOT NULL,
  `path` varchar(200) DEFAULT NULL COMMENT 'the uploaded file, below the data directory; NULL once dropped',
  `folder_id` bigint(20) NOT NULL,
  `zip_id` bigint(20) DEFAULT NULL COMMENT 'NOT NULL means packed',
  `zip_offset` bigint(20) DEFAULT NULL COMMENT 'where the file begins in the archive',
  `cb_url` varchar(2048) DEFAULT NULL COMMENT 'mirrors the latest request',
  `status` tinyint(4) NOT NULL DEFAULT 0 COMMENT 'mirrors: 0 not packed, 1 packed, 2 download requested, 3 downloading, 4 download failed, 5 callback done, 6 downloaded, 7 expired',
  `update_time` datetime(6) NOT NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6),
  `create_time` datetime(6) NOT NULL DEFAULT current_timestamp(6),
  PRIMARY KEY (`file_id`),
  UNIQUE KEY `file_path` (`path`),
  KEY `file_folder` (`folder_id`),
  KEY `file_zip` (`zip_id`)
) ENGINE=InnoDB AUTO_INCREMENT=6 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `file_upload_info`
--

LOCK TABLES `file_upload_info` WRITE;
/*!40000 ALTER TABLE `file_upload_info` DISABLE KEYS */;
INSERT INTO `file_upload_info` VALUES
(1,'a.mp4','mp4',1500,'44c649aa1258191c69f8ff12525d38f9933d9e842d73d2dcda2f884b4e2ffdb0',NULL,1,1,32,NULL,1,'2026-11-27 10:10:48.034357','2026-11-27 10:10:47.926090'),
(2,'a.mp4','mp4',2500,'c1200cf8e509f7857641b279606aa57c08dbc16fd118857fa0b8f367661d87d1',NULL,1,1,1532,NULL,1,'2026-11-27 10:10:48.034357','2026-11-27 10:10:47.929094'),
(3,'a.mp4','mp4',1500,'e1e92498a3baad3149357f780660287970697e8b7403d654a30f8bd1363a977a','received/00/839d6e7322777098513bee1d19636c16',2,2,32,NULL,1,'2026-11-27 10:10:48.093870','2026-11-27 10:10:48.052578'),
(4,'a.mp4','mp4',2500,'41a5c76d556ba47daa81e2feecc5c4951232940119dae4dec8761e8bf7334acf','received/00/08b476bd70eaedffbb06a3887e84f7e8',2,2,1532,NULL,1,'2026-11-27 10:10:48.093870','2026-11-27 10:10:48.054906'),
(5,'a.mp4','mp4',700,'9cec7b281d185a0579d4e2bf7bb968a0f338e007ed53f37a1320ba328be11de2','received/00/aae37cef873b755943cf9c98a6ba45e7',3,NULL,NULL,NULL,0,'2026-11-27 10:10:48.099240','2026-11-27 10:10:48.099240');
/*!40000 ALTER TABLE `file_upload_info` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table `folder_info`
--

DROP TABLE IF EXISTS `folder_info`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `folder_info` (
  `folder_id` bigint(20) NOT NULL AUTO_INCREMENT,
  `open_slot` varchar(100) DEFAULT NULL COMMENT 'the ingest worker that fills it; NULL once closed',
  `status` tinyint(4) NOT NULL DEFAULT 0 COMMENT '0 open, 1 closed, 2 packed, 3 packing failed',
  `files` int(11) NOT NULL DEFAULT 0,
  `bytes` bigint(20) NOT NULL DEFAULT 0,
  `zip_id` bigint(20) DEFAULT NULL,
  `close_at` datetime(6) NOT NULL COMMENT 'the age at which an open folder closes',
  `closed_at` datetime(6) DEFAULT NULL,
  `pack_due` datetime(6) DEFAULT NULL,
  `pack_token` char(32) DEFAULT NULL,
  `pack_attempts` int(11) NOT NULL DEFAULT 0,
  `pack_reason` varchar(500) DEFAULT NULL,
  `pack_failed_at` datetime(6) DEFAULT NULL,
  `update_time` datetime(6) NOT NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6),
  `create_time` datetime(6) NOT NULL DEFAULT current_timestamp(6),
  PRIMARY KEY (`folder_id`),
  UNIQUE KEY `one_open_folder_for_each_worker` (`open_slot`),
  KEY `folder_status` (`status`,`close_at`),
  KEY `folder_pack_due` (`pack_due`),
  KEY `folder_pack_failed` (`pack_failed_at`)
) ENGINE=InnoDB AUTO_INCREMENT=4 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `folder_info`
--

LOCK TABLES `folder_info` WRITE;
/*!40000 ALTER TABLE `folder_info` DISABLE KEYS */;
INSERT INTO `folder_info` VALUES
(1,NULL,2,2,4000,1,'2026-11-27 11:10:47.925597','2026-11-27 10:10:47.929949',NULL,NULL,0,NULL,NULL,'2026-11-27 10:10:47.995351','2026-11-27 10:10:47.925597'),
(2,NULL,2,2,4000,2,'2026-11-27 11:10:48.052175','2026-11-27 10:10:48.055419',NULL,NULL,0,NULL,NULL,'2026-11-27 10:10:48.094635','2026-11-27 10:10:48.052175'),
(3,'console',0,1,700,NULL,'2026-11-27 11:10:48.098863',NULL,NULL,NULL,0,NULL,NULL,'2026-11-27 10:10:48.099915','2026-11-27 10:10:48.098863');
/*!40000 ALTER TABLE `folder_info` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table `identity_info`
--

DROP TABLE IF EXISTS `identity_info`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `identity_info` (
  `one` tinyint(4) NOT NULL DEFAULT 1 COMMENT 'always 1: there is one row',
  `identity` char(32) NOT NULL COMMENT 'of database and data directory together; in identity.json there, too',
  `mark` bigint(20) NOT NULL DEFAULT 0 COMMENT 'moved on while rows are recorded; the data directory''s follows at once',
  `create_time` datetime(6) NOT NULL DEFAULT current_timestamp(6),
  PRIMARY KEY (`one`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `identity_info`
--

LOCK TABLES `identity_info` WRITE;
/*!40000 ALTER TABLE `identity_info` DISABLE KEYS */;
INSERT INTO `identity_info` VALUES
(1,'57476403b66d0f3e38b9eb7352bbee58',1,'2026-11-27 10:10:47.896592');
/*!40000 ALTER TABLE `identity_info` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table `order_info`
--

DROP TABLE IF EXISTS `order_info`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `order_info` (
  `order_id` bigint(20) NOT NULL AUTO_INCREMENT,
  `zip_id` bigint(20) NOT NULL,
  `term` int(11) DEFAULT NULL COMMENT '1 for the first purchase, 2 for its renewal, ...; NULL once it is known to have bought nothing',
  `account` varchar(64) NOT NULL COMMENT 'SS58 address that pays',
  `in_flight` tinyint(4) DEFAULT 1 COMMENT 'NULL once settled: one extrinsic in flight for each account',
  `status` tinyint(4) NOT NULL DEFAULT 0 COMMENT '0 intended, 1 bought, 2 refused by the market, 3 never included',
  `cid` varchar(100) NOT NULL,
  `declared_size` bigint(20) NOT NULL,
  `nonce` bigint(20) NOT NULL,
  `era_birth` bigint(20) NOT NULL COMMENT 'block; the first in which the extrinsic is valid',
  `era_death` bigint(20) NOT NULL COMMENT 'block; from here on the extrinsic can no longer be included',
  `extrinsic_hash` char(66) NOT NULL,
  `extrinsic` text NOT NULL COMMENT 'the signed bytes, hex: what is sent, and sent again',
  `price` decimal(39,0) NOT NULL COMMENT 'planck, as quoted before buying; of an order that bought nothing the fee alone',
  `block` bigint(20) DEFAULT NULL COMMENT 'the finalized block it is in',
  `reason` varchar(500) DEFAULT NULL,
  `settled_at` datetime(6) DEFAULT NULL,
  `update_time` datetime(6) NOT NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6),
  `create_time` datetime(6) NOT NULL DEFAULT current_timestamp(6),
  `market` varchar(100) DEFAULT NULL COMMENT 'genesis hash of the chain, or host of the pinning service; NULL: from before this column',
  `reported_at` datetime(6) DEFAULT NULL COMMENT 'when its refusal was put before a person',
  `fee` decimal(39,0) NOT NULL DEFAULT 0 COMMENT 'planck, as quoted: the part of the price that the chain keeps if the market refuses',
  PRIMARY KEY (`order_id`),
  UNIQUE KEY `order_extrinsic` (`extrinsic_hash`),
  UNIQUE KEY `one_purchase_for_each_term` (`zip_id`,`term`),
  UNIQUE KEY `one_in_flight_for_each_account` (`account`,`in_flight`),
  KEY `order_created` (`create_time`,`status`,`price`),
  KEY `order_market_block` (`market`,`block`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `order_info`
--

LOCK TABLES `order_info` WRITE;
/*!40000 ALTER TABLE `order_info` DISABLE KEYS */;
/*!40000 ALTER TABLE `order_info` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table `outage_info`
--

DROP TABLE IF EXISTS `outage_info`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `outage_info` (
  `service` varchar(40) NOT NULL COMMENT 'whose work waits',
  `process` varchar(100) NOT NULL COMMENT 'in which process of it: host and number',
  `domain` varchar(20) NOT NULL COMMENT 'database, redis, ipfs, network, market, disk or callback host',
  `name` varchar(300) NOT NULL COMMENT 'which one of several: host:port of a callback; else empty',
  `reason` varchar(500) NOT NULL COMMENT 'what was found',
  `since` datetime(6) NOT NULL COMMENT 'when it was first found away',
  `stale_at` datetime(6) NOT NULL COMMENT 'from then on the row is not believed',
  PRIMARY KEY (`service`,`process`,`domain`,`name`),
  KEY `outage_stale` (`stale_at`,`since`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `outage_info`
--

LOCK TABLES `outage_info` WRITE;
/*!40000 ALTER TABLE `outage_info` DISABLE KEYS */;
/*!40000 ALTER TABLE `outage_info` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table `renewal_info`
--

DROP TABLE IF EXISTS `renewal_info`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `renewal_info` (
  `day` bigint(20) NOT NULL COMMENT 'expired_on DIV 14400: days of blocks of 6 s',
  `archives` bigint(20) NOT NULL COMMENT 'whose order ends then; kept by crust-orderer with every change of expired_on',
  `mebibytes` bigint(20) NOT NULL DEFAULT 0 COMMENT 'sizes of these archives (dag_size) in MiB, rounded up for each',
  PRIMARY KEY (`day`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `renewal_info`
--

LOCK TABLES `renewal_info` WRITE;
/*!40000 ALTER TABLE `renewal_info` DISABLE KEYS */;
/*!40000 ALTER TABLE `renewal_info` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table `set_aside_info`
--

DROP TABLE IF EXISTS `set_aside_info`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `set_aside_info` (
  `file_id` bigint(20) NOT NULL,
  `reason` varchar(500) NOT NULL COMMENT 'what the packer found',
  `found_at` datetime(6) NOT NULL DEFAULT current_timestamp(6),
  `lost_at` datetime(6) DEFAULT NULL COMMENT 'when a person gave the file up: its bytes went to quarantine; NULL: a person has to decide',
  PRIMARY KEY (`file_id`),
  KEY `set_aside_waiting` (`lost_at`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `set_aside_info`
--

LOCK TABLES `set_aside_info` WRITE;
/*!40000 ALTER TABLE `set_aside_info` DISABLE KEYS */;
/*!40000 ALTER TABLE `set_aside_info` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table `sweep_info`
--

DROP TABLE IF EXISTS `sweep_info`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `sweep_info` (
  `directory` varchar(20) NOT NULL COMMENT 'below the data directory: received, archives or downloads',
  `files` bigint(20) NOT NULL COMMENT 'that no row names, and that the sweep would have moved to quarantine',
  `bytes` bigint(20) NOT NULL COMMENT 'of these',
  `seen` bigint(20) NOT NULL COMMENT 'files that lay there in all',
  `allowed` bigint(20) DEFAULT NULL COMMENT 'files that a person lets the next sweep move; NULL: nobody has decided',
  `stopped_at` datetime(6) NOT NULL DEFAULT current_timestamp(6) COMMENT 'when it stopped first',
  PRIMARY KEY (`directory`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `sweep_info`
--

LOCK TABLES `sweep_info` WRITE;
/*!40000 ALTER TABLE `sweep_info` DISABLE KEYS */;
/*!40000 ALTER TABLE `sweep_info` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table `zip_ipfs_info`
--

DROP TABLE IF EXISTS `zip_ipfs_info`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `zip_ipfs_info` (
  `zip_id` bigint(20) NOT NULL AUTO_INCREMENT,
  `folder_id` bigint(20) NOT NULL,
  `zip_name` varchar(100) NOT NULL,
  `path` varchar(200) DEFAULT NULL COMMENT 'the local archive, below the data directory; NULL once dropped',
  `key` varchar(255) NOT NULL COMMENT 'AES-256 key, wrapped by a master key (Fernet)',
  `master_key` char(16) DEFAULT NULL COMMENT 'id of the master key that wraps `key`: 64 bits of a hash of it',
  `iv` char(32) NOT NULL COMMENT 'initial counter block, hex',
  `size` bigint(20) NOT NULL COMMENT 'length of the archive',
  `files` int(11) NOT NULL,
  `cid` varchar(100) DEFAULT NULL,
  `dag_size` bigint(20) DEFAULT NULL COMMENT 'cumulativeSize of the CID: what an order declares',
  `status` tinyint(4) NOT NULL DEFAULT 0 COMMENT '0 not ordered, 1 ordered, 2 order failed, 3 live, 4 expired',
  `replicas` int(11) NOT NULL DEFAULT 0,
  `calculated_at` bigint(20) DEFAULT NULL COMMENT 'block of the latest order or reward calculation, as the market says: it moves, nothing is decided by it',
  `expired_on` bigint(20) DEFAULT NULL COMMENT 'block; NULL until the first replica',
  `expires_at` datetime(6) DEFAULT NULL COMMENT 'expired_on as a time, estimated at the last check',
  `pinned_at` datetime(6) DEFAULT NULL,
  `checked_at` datetime(6) DEFAULT NULL COMMENT 'when the market was last asked',
  `replicated_at` datetime(6) DEFAULT NULL COMMENT 'from before evidence_info; taken back, never written',
  `uploads_dropped_at` datetime(6) DEFAULT NULL COMMENT 'when the uploaded plaintext was removed',
  `dropped_at` datetime(6) DEFAULT NULL COMMENT 'when the local archive was removed',
  `pin_due` datetime(6) DEFAULT NULL,
  `pin_token` char(32) DEFAULT NULL,
  `pin_attempts` int(11) NOT NULL DEFAULT 0,
  `pin_reason` varchar(500) DEFAULT NULL,
  `pin_failed_at` datetime(6) DEFAULT NULL,
  `drop_due` datetime(6) DEFAULT NULL,
  `drop_token` char(32) DEFAULT NULL,
  `drop_attempts` int(11) NOT NULL DEFAULT 0,
  `drop_reason` varchar(500) DEFAULT NULL,
  `drop_failed_at` datetime(6) DEFAULT NULL,
  `order_due` datetime(6) DEFAULT NULL COMMENT 'when there is something to settle or to buy, as far as is known',
  `order_token` char(32) DEFAULT NULL,
  `order_attempts` int(11) NOT NULL DEFAULT 0,
  `order_reason` varchar(500) DEFAULT NULL,
  `order_failed_at` datetime(6) DEFAULT NULL,
  `update_time` datetime(6) NOT NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6),
  `create_time` datetime(6) NOT NULL DEFAULT current_timestamp(6),
  `enough_at` datetime(6) DEFAULT NULL COMMENT 'from before evidence_info; taken back, never written',
  `prove_due` datetime(6) DEFAULT NULL,
  `prove_token` char(32) DEFAULT NULL,
  `prove_attempts` int(11) NOT NULL DEFAULT 0,
  `prove_reason` varchar(500) DEFAULT NULL,
  `prove_failed_at` datetime(6) DEFAULT NULL,
  `terms_wanted` int(11) NOT NULL DEFAULT 1 COMMENT 'purchases that there have to be; order_info.term counts them',
  `restored_at` datetime(6) DEFAULT NULL COMMENT 'when our IPFS node held it again, after local copies had gone',
  `restore_due` datetime(6) DEFAULT NULL,
  `restore_token` char(32) DEFAULT NULL,
  `restore_attempts` int(11) NOT NULL DEFAULT 0,
  `restore_reason` varchar(500) DEFAULT NULL,
  `restore_failed_at` datetime(6) DEFAULT NULL,
  `watch_due` datetime(6) DEFAULT NULL,
  `watch_token` char(32) DEFAULT NULL,
  `watch_attempts` int(11) NOT NULL DEFAULT 0,
  `watch_reason` varchar(500) DEFAULT NULL,
  `watch_failed_at` datetime(6) DEFAULT NULL,
  `order_renews` tinyint(4) GENERATED ALWAYS AS (`expires_at` is not null) VIRTUAL COMMENT 'whether what it is to be bought for has run, or runs',
  PRIMARY KEY (`zip_id`),
  UNIQUE KEY `one_archive_for_each_folder` (`folder_id`),
  KEY `zip_path` (`path`),
  KEY `zip_pin_due` (`pin_due`),
  KEY `zip_pin_failed` (`pin_failed_at`),
  KEY `zip_drop_due` (`drop_due`),
  KEY `zip_drop_failed` (`drop_failed_at`),
  KEY `zip_order_due` (`order_due`),
  KEY `zip_order_failed` (`order_failed_at`),
  KEY `zip_prove_due` (`prove_due`),
  KEY `zip_prove_failed` (`prove_failed_at`),
  KEY `zip_restore_due` (`restore_due`),
  KEY `zip_restore_failed` (`restore_failed_at`),
  KEY `zip_waiting_for_replicas` (`replicated_at`,`pinned_at`),
  KEY `zip_order_token` (`order_token`),
  KEY `zip_never_dropped` (`dropped_at`,`pinned_at`),
  KEY `zip_restored` (`restored_at`),
  KEY `zip_expiry` (`status`,`expires_at`),
  KEY `zip_replicas` (`replicas`,`dropped_at`),
  KEY `zip_master_key` (`master_key`,`zip_id`),
  KEY `zip_watch_due` (`watch_due`),
  KEY `zip_watch_failed` (`watch_failed_at`),
  KEY `zip_watch_token` (`watch_token`),
  KEY `zip_order_turn` (`order_renews`,`order_due`,`expires_at`)
) ENGINE=InnoDB AUTO_INCREMENT=3 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `zip_ipfs_info`
--

LOCK TABLES `zip_ipfs_info` WRITE;
/*!40000 ALTER TABLE `zip_ipfs_info` DISABLE KEYS */;
INSERT INTO `zip_ipfs_info` VALUES
(1,1,'1-3e67a0ef8c9bd84e161d5b2eb19228d8.7z.enc','archives/1-3e67a0ef8c9bd84e161d5b2eb19228d8.7z.enc','gAAAAABrCVcniM59cOKYyzddOuT_cparWESaHx9RJhnwDcW-EDvwM6pEI97EyoHAWwjSYcC0waj3YaenqGp6xjdbFaNy54_xtToZTeojEvsjWFZwJR1vJodhDCU1wImI1bBiQ2ZcC4Pe','6c7960f43759ec6d','eb6de46e5d193faef0c3bc11b6a7b732',4649,2,'bafkreickypz2pz7ec4eusuyo5cm2rwwoamih3ccvbk7zxgogontihzrnm4',4649,0,0,NULL,NULL,NULL,'2026-11-27 10:10:48.025376',NULL,NULL,'2026-11-27 10:10:48.036349',NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,0,NULL,NULL,'2026-11-27 10:10:48.025681',NULL,0,NULL,NULL,'2026-11-27 10:10:48.043756','2026-11-27 10:10:47.992030',NULL,NULL,NULL,0,NULL,NULL,1,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,0,NULL,NULL,0),
(2,2,'2-7d76f8962aeeedd25ed55ff6f0aa738a.7z.enc','archives/2-7d76f8962aeeedd25ed55ff6f0aa738a.7z.enc','gAAAAABrCVco2AHN18a_Y4XeMo_xrPPkNTWXaNf9x7lfhDJ55o1ruNBA6O5bL8W9JlRwHXK-tGMW8Zp_PysS55uCXbQsrIPjl54OFF3Z1FTx902vSo2nFY_10yg7CJTORXNe7zYa1clj','6c7960f43759ec6d','6c1910336e2f4b23f959f8147853b851',4650,2,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2026-11-27 10:10:48.093345',NULL,0,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,0,NULL,NULL,'2026-11-27 10:10:48.093345','2026-11-27 10:10:48.093345',NULL,NULL,NULL,0,NULL,NULL,1,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,0,NULL,NULL,0);
/*!40000 ALTER TABLE `zip_ipfs_info` ENABLE KEYS */;
UNLOCK TABLES;
/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;

/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;
/*!40014 SET FOREIGN_KEY_CHECKS=@OLD_FOREIGN_KEY_CHECKS */;
/*!40014 SET UNIQUE_CHECKS=@OLD_UNIQUE_CHECKS */;
/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;
/*!40101 SET CHARACTER_SET_RESULTS=@OLD_CHARACTER_SET_RESULTS */;
/*!40101 SET COLLATION_CONNECTION=@OLD_COLLATION_CONNECTION */;
/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;

-- Dump completed on 2026-11-27 10:10:48
